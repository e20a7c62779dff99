package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
)

// completeServices offers the names of services to the shell.
func completeServices(client *adminClient) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		list, err := ask[admin.ServiceList](ctx, client, "/api/v1/services", nil)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp // nobody to ask: nothing to offer
		}
		var names []string
		for _, s := range list.Services {
			names = append(names, s.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeSubsets offers the subsets of the service that is named, or of all, to the shell.
func completeSubsets(client *adminClient) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		list, err := ask[admin.ServiceList](ctx, client, "/api/v1/services", named(args))
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp // nobody to ask: nothing to offer
		}
		var names []string
		for _, s := range list.Services {
			for _, p := range s.Pools {
				if p.Subset != "" {
					names = append(names, p.Subset)
				}
			}
		}
		slices.Sort(names)
		return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
	}
}
