package config

import "fmt"

// noService says that there is no service behind a fully qualified name, as somebody in namespace would put it,
// and what may have been meant.
func (b *builder) noService(host, namespace string) string {
	var names []string
	for full := range b.hosts {
		if full == host+localDomain {
			return fmt.Sprintf("there is no service %q: a name with a dot stands for itself; write %q", host, full)
		}
		names = append(names, plainHost(full, namespace))
	}
	plain := plainHost(host, namespace)
	if plain == host {
		return fmt.Sprintf("there is no service %q%s", host, didYouMean(plain, names))
	}
	return fmt.Sprintf("there is no service %q in namespace %s%s", plain, namespace, didYouMean(plain, names))
}

// plainHost shortens a fully qualified name to what stands for it in a namespace.
func plainHost(host, namespace string) string {
	if name, ns, ok := localName(host); ok && ns == namespace {
		return name
	}
	return host
}

// expand returns every spelling of a host that a VirtualService names.
func expand(host string) []string {
	if name, namespace, ok := localName(host); ok {
		return spellings(name, namespace)
	}
	return []string{host}
}
