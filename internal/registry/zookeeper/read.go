package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/go-zookeeper/zk"

	"crossfade.dev/internal/registry"
)

// atOnce is how many questions are open at a time.
const atOnce = 64

// rounds is how often a directory is read again, at the most, because somebody whom it named was gone when asked: with Dubbo
// a registration that says something new has a new name, and whoever is replaced must not be missing for a moment.
const rounds = 100

// look reads what stands at these paths: the root, directories, and registrations. It goes down, so that each is read
// once, but for directories in which somebody was replaced meanwhile.
func (f *following) look(ctx context.Context, paths map[string]bool) error {
	p := &f.client.place
	directories, nodes := map[string]string{}, map[string]string{} // their services, by path
	for path := range paths {
		below, _ := strings.CutPrefix(path, p.root+"/")
		service, _, _ := strings.Cut(below, "/")
		switch {
		case path == p.root:
			news, err := f.root(ctx)
			if err != nil {
				return err
			}
			for _, service := range news {
				directories[p.directory(service)] = service
			}
		case path == p.directory(service):
			directories[path] = service
		default:
			nodes[path] = service
		}
	}
	for range rounds {
		if err := f.directories(ctx, directories, nodes); err != nil {
			return err
		}
		gone, err := f.nodes(ctx, nodes)
		if err != nil || len(gone) == 0 {
			return err
		}
		directories, nodes = gone, map[string]string{}
	}
	return nil
}

// root reads which services there are, and returns those that are new.
func (f *following) root(ctx context.Context) ([]string, error) {
	names, err := f.ask(ctx, f.client.place.root)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var news []string
	there := make(map[string]bool, len(names))
	for _, service := range names {
		there[service] = true
		if f.services[service] == nil {
			news = append(news, service)
		}
	}
	for service := range f.services {
		if !there[service] {
			delete(f.services, service)
		}
	}
	return news, nil
}

// ask reads the names of what stands below a path.
func (f *following) ask(ctx context.Context, path string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return f.session.childrenW(ctx, path)
}

// directories reads who is registered in services, and adds to nodes those who are new.
func (f *following) directories(ctx context.Context, directories, nodes map[string]string) error {
	return each(ctx, directories, func(ctx context.Context, directory, service string) error {
		names, err := f.ask(ctx, directory)
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		before, now := f.services[service], make(map[string]registry.Reading, len(names))
		for _, name := range names {
			reading, known := before[name]
			if !known {
				nodes[directory+"/"+name] = service
				continue
			}
			now[name] = reading
		}
		f.services[service] = now
		return nil
	})
}

// nodes reads registrations, and returns the directories, with their services, of those that are not there any more.
func (f *following) nodes(ctx context.Context, nodes map[string]string) (gone map[string]string, err error) {
	gone = map[string]string{}
	err = each(ctx, nodes, func(ctx context.Context, path, service string) error {
		bounded, cancel := context.WithTimeout(ctx, patience)
		is, err := f.session.getW(bounded, path)
		cancel()
		if err != nil && !errors.Is(err, zk.ErrNoNode) && !errors.Is(err, zk.ErrNoAuth) {
			return err
		}
		if errors.Is(err, zk.ErrNoNode) { // and its directory has changed
			f.note(path, service, nil)
			f.mu.Lock()
			gone[f.client.place.directory(service)] = service
			f.mu.Unlock()
			return nil
		}
		reading := &registry.Reading{Service: service, Err: err}
		if err == nil {
			*reading = f.read(ctx, path, service, is)
		}
		f.note(path, service, reading)
		return nil
	})
	return gone, err
}

// read returns what a registration says, with its host name looked up: applications of Spring and Curator may register one.
// Where that is not known, the next look is after retryHosts.
func (f *following) read(ctx context.Context, path, service string, is found) registry.Reading {
	r, err := f.client.place.read(service, path[strings.LastIndexByte(path, '/')+1:], is.data, is.stat.Czxid)
	if err != nil {
		return registry.Reading{Service: service, Err: err}
	}
	if _, err := netip.ParseAddr(r.Address); err != nil && r.Address != "" {
		address, err := lookUp(ctx, r.Address)
		if err != nil {
			f.mu.Lock()
			f.unknown[path] = true
			f.mu.Unlock()
			return registry.Reading{Service: service, Err: err}
		}
		r.Address = address
	}
	return r.Reading()
}

// lookUp returns an address of a host, of the fourth version where it has one.
func lookUp(ctx context.Context, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", fmt.Errorf("address: %w", err)
	}
	for _, a := range list {
		if a.Unmap().Is4() {
			return a.Unmap().String(), nil
		}
	}
	return list[0].String(), nil
}

// note keeps what a registration says; nil is that there is none.
func (f *following) note(path, service string, reading *registry.Reading) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := path[strings.LastIndexByte(path, '/')+1:]
	switch of := f.services[service]; {
	case of == nil: // the service has gone
	case reading == nil:
		delete(of, name)
	default:
		of[name] = *reading
	}
}

// readings returns everything by path.
func (f *following) readings() map[string]registry.Reading {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]registry.Reading{}
	for service, of := range f.services {
		directory := f.client.place.directory(service)
		for name, reading := range of {
			all[directory+"/"+name] = reading
		}
	}
	return all
}

// each does something for all of these, several at once, and returns the first error.
func each(ctx context.Context, all map[string]string, what func(ctx context.Context, path, service string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var going sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for path, service := range all {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		going.Go(func() {
			defer func() { <-free }()
			if err := what(ctx, path, service); err != nil {
				cancel(err)
			}
		})
	}
	going.Wait()
	return context.Cause(ctx)
}
