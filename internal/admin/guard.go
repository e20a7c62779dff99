package admin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Guard lets through to next only what was meant for this program. A browser can be made to talk to loopback by
// any page it shows; two checks stop that:
//
//   - The Host of every request must be localhost, a loopback address, the address that the connection came in
//     at, or one of hosts. A foreign name that resolves to loopback (DNS rebinding) is refused.
//   - A request that may change something (not GET, HEAD or OPTIONS) must not come from a page of another
//     origin, by its Origin and Sec-Fetch-Site fields.
//
// Both are refused with 403 and a sentence. Answers are marked never to be cached or guessed at.
func Guard(next http.Handler, hosts ...string) http.Handler {
	refused := Refuses(hosts...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := refused(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		next.ServeHTTP(w, r)
	})
}

// Refuses returns the two checks of [Guard]: an error says why a request is refused, in a sentence for its sender.
func Refuses(hosts ...string) func(*http.Request) error {
	origins := http.NewCrossOriginProtection()
	return func(r *http.Request) error {
		if !meantForUs(r, hosts) {
			return errors.New("refused: the Host field names neither this machine's loopback nor an address of this program")
		}
		if err := origins.Check(r); err != nil {
			return fmt.Errorf("refused: %w", err)
		}
		return nil
	}
}

// meantForUs says whether the request's Host is a name of this program.
func meantForUs(r *http.Request, hosts []string) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	same := func(name string) bool { return strings.EqualFold(name, host) }
	if same("localhost") || slices.ContainsFunc(hosts, same) && host != "" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addr = addr.Unmap()
	return addr.IsLoopback() || addr == localAddr(r)
}

// localAddr returns the address that the request's connection came in at; the zero one when it is not known.
func localAddr(r *http.Request) netip.Addr {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.Addr{}
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// path returns the path of a mux pattern: "GET /stats" is "/stats".
func path(pattern string) string {
	if _, after, ok := strings.Cut(pattern, " "); ok {
		return after
	}
	return pattern
}
