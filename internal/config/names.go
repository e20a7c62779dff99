package config

import (
	"slices"
	"strings"
)

const (
	defaultNamespace = "default"
	localDomain      = ".svc.cluster.local"
	meshGateway      = "mesh" // Istio's name for calls between services
)

// fqdn writes a host name out, as Istio does: a name without a dot is short for a service in the namespace of
// the object that names it; anything else stands for itself.
func fqdn(host, namespace string) string {
	host = strings.ToLower(host)
	if host == "" || host[0] == '*' || strings.Contains(host, ".") {
		return host
	}
	return host + "." + namespace + localDomain
}

// shortHost is how people write the host of a Kubernetes Service.
func shortHost(name, namespace string) string {
	if namespace == defaultNamespace {
		return name
	}
	return name + "." + namespace
}

// spellings are all names that a Kubernetes Service answers to. The bare name is that of the service in the
// default namespace: what the mesh port serves has no namespace of its own.
func spellings(name, namespace string) []string {
	names := []string{
		name + "." + namespace,
		name + "." + namespace + ".svc",
		name + "." + namespace + localDomain,
	}
	if namespace == defaultNamespace {
		names = slices.Insert(names, 0, name)
	}
	return names
}

// localName takes a fully qualified name of a Kubernetes Service apart.
func localName(host string) (name, namespace string, ok bool) {
	rest, ok := strings.CutSuffix(host, localDomain)
	if !ok {
		return "", "", false
	}
	name, namespace, ok = strings.Cut(rest, ".")
	return name, namespace, ok && name != "" && namespace != "" && !strings.Contains(namespace, ".")
}

// covers says whether every host that b stands for is one that a stands for. Both may be wildcards.
func covers(a, b string) bool {
	switch {
	case a == "*" || a == b:
		return true
	case strings.HasPrefix(a, "*"):
		return len(b) > len(a)-1 && strings.HasSuffix(strings.TrimPrefix(b, "*"), a[1:])
	default:
		return false
	}
}

// isLabel says whether s is a DNS label in lower case: what namespaces, services and subsets are named.
func isLabel(s string) bool {
	return len(s) <= 63 && isName(s) && !strings.Contains(s, ".")
}

// isName says whether s is one or more DNS labels in lower case, with dots between them.
func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// isHost says whether s can stand where Istio takes a host: a name, or one whose first label is "*".
func isHost(s string) bool {
	if s == "*" {
		return true
	}
	return isName(strings.TrimPrefix(strings.ToLower(s), "*."))
}
