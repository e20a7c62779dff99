package agent

import (
	"fmt"
	"sync"

	"crossfade.dev/internal/registry"
)

// registrars are all who are asked to have one instance, at the same time: what one of them lacks, or refuses, keeps it
// from none of the others.
type registrars []registry.Registrar

// each has all of them do something, and returns what every one that failed says.
func (rs registrars) each(do func(registry.Registrar) error) error {
	errs := make([]error, len(rs))
	var all sync.WaitGroup
	for i, one := range rs {
		all.Go(func() { errs[i] = do(one) })
	}
	all.Wait()
	var failed error
	for _, err := range errs {
		switch {
		case failed == nil:
			failed = err
		case err != nil:
			failed = fmt.Errorf("%w; %w", failed, err)
		}
	}
	return failed
}
