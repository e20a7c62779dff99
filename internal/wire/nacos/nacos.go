// Package nacos has the messages of Nacos, as its clients and servers send them: over gRPC ([Frame], [Payload] and the
// bodies of those that concern instances) and over HTTP in its three versions ([HTTPCall]). It keeps no state and asks nobody.
//
// What is read here comes from clients of all ages and languages: it is read as leniently as Nacos does, where a number may
// be a string and what is absent has a default. What is changed on its way ([EditInstances], [HTTPCall.Edit]) keeps
// everything else as it was.
package nacos

import (
	"net"
	"strconv"
	"strings"
)

// What Nacos takes where nothing is said.
const (
	DefaultNamespace = "public"
	DefaultGroup     = "DEFAULT_GROUP"
	DefaultCluster   = "DEFAULT"
)

// A Service names one in Nacos.
type Service struct {
	Namespace string // the id, not the name that people see
	Group     string
	Name      string
}

// NewService returns a service with Nacos's defaults for what is empty. A name may bring its group: "GROUP@@name"; that
// counts where group is empty or the default one.
func NewService(namespace, group, name string) Service {
	if in, bare, grouped := strings.Cut(name, "@@"); grouped {
		name = bare
		if group == "" || group == DefaultGroup {
			group = in
		}
	}
	return Service{Namespace: or(namespace, DefaultNamespace), Group: or(group, DefaultGroup), Name: name}
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// Grouped returns the name with its group before it, as pushes and HTTP have it.
func (s Service) Grouped() string { return s.Group + "@@" + s.Name }

// String is for people, and unique.
func (s Service) String() string { return s.Namespace + "/" + s.Group + "/" + s.Name }

// A Key names one instance of one service: what registers the same key again replaces it.
type Key struct {
	Service
	Cluster string
	IP      string
	Port    int
}

// Key returns the key of an instance of a service.
func (s Service) Key(in Instance) Key {
	return Key{Service: s, Cluster: or(in.Cluster, DefaultCluster), IP: in.IP, Port: in.Port}
}

// String is for people, and unique.
func (k Key) String() string {
	return k.Service.String() + "/" + k.Cluster + "/" + net.JoinHostPort(k.IP, strconv.Itoa(k.Port))
}
