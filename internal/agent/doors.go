package agent

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
)

// A Status is what an agent answers about its instance, to this machine.
type Status struct {
	Ready       bool   `json:"ready"`
	Stage       Stage  `json:"stage"`
	Reason      string `json:"reason,omitempty"` // why it is not ready, or what it waits for
	Incarnation string `json:"incarnation"`
}

// Doors are what others may ask an agent.
type doors struct {
	status func() Status
	leave  func(ctx context.Context, reason string) (drain.Report, error) // returns when it is safe to stop
	token  string
}

// readiness answers whether the instance is ready: its status to everybody, why to this machine.
func (d *doors) readiness() http.Handler {
	mux := http.NewServeMux()
	ready := func(w http.ResponseWriter, r *http.Request) {
		s := d.status()
		code := http.StatusOK
		if !s.Ready {
			code = http.StatusInternalServerError // as MSE's
		}
		answer(w, r, code, s)
	}
	mux.HandleFunc("GET /readiness", ready)
	mux.HandleFunc("GET /health", ready)
	mux.HandleFunc("GET /liveness", func(w http.ResponseWriter, r *http.Request) { answer(w, r, http.StatusOK, d.status()) })
	return mux
}

// answer writes a status, and to this machine what it means.
func answer(w http.ResponseWriter, r *http.Request, code int, s Status) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		w.WriteHeader(code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(s) // who asks may be gone
}

// offline has the instance leave, and answers with what that came to when it is safe to stop it. Whatever method is
// used, no page that a browser shows may do that: it comes with an Origin, or says that it is from elsewhere.
func (d *doors) offline() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/offline", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodPost {
			w.Header().Set("Allow", "GET, POST")
			http.Error(w, "want GET or POST", http.StatusMethodNotAllowed)
			return
		}
		if !d.shown(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "want Authorization: Bearer TOKEN, as --offline-token-file has it", http.StatusUnauthorized)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // a leave takes as long as it takes
		report, err := d.leave(r.Context(), r.Method+" /offline")
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(report) // likewise
	})
	return admin.Guard(strict(mux))
}

// strict refuses what changes something and comes from a page of elsewhere, also by GET.
func strict(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		as := *r
		as.Method = http.MethodPost // what is checked is every method but GET, HEAD and OPTIONS
		if err := origins.Check(&as); err != nil {
			http.Error(w, "refused: "+err.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (d *doors) shown(r *http.Request) bool {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return d.token == "" || bearer && subtle.ConstantTimeCompare([]byte(token), []byte(d.token)) == 1
}

// errNotLoopback is why an address for /offline is refused.
var errNotLoopback = errors.New("it stops the instance, so it is for this machine only: want a loopback address")

// listen binds an address of an agent.
func listen(ctx context.Context, address string, loopback bool) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	bound, err := netip.ParseAddrPort(l.Addr().String())
	if loopback && (err != nil || !bound.Addr().Unmap().IsLoopback()) {
		return nil, errors.Join(fmt.Errorf("%s: %w", address, errNotLoopback), l.Close())
	}
	return l, nil
}
