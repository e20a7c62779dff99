package fleet

import "time"

// MaxGatewayReplicas bounds the replicas of one gateway.
const MaxGatewayReplicas = 100

// What is so of gateways where nobody says otherwise, as in ASM.
const (
	DefaultGroup     = "ingressgateway" // name of the one that there is where configuration names none
	GatewayNamespace = "istio-system"   // of one that names none
)

// OrDefault returns the groups that configuration names, or the one that there is where it names none.
func OrDefault(groups []GatewayGroup) []GatewayGroup {
	if len(groups) > 0 {
		return groups
	}
	return []GatewayGroup{{Name: DefaultGroup, Namespace: GatewayNamespace, Replicas: 1}}
}

// A GatewayGroup is a gateway that people want to run in a number of replicas: processes that share its listening
// sockets.
type GatewayGroup struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels,omitempty"`    // that its replicas carry; part of Revision
	Replicas  int               `json:"replicas"`            // in force
	Declared  int               `json:"declared"`            // as configuration says; a scale command holds until it changes
	Revision  string            `json:"revision"`            // digest of what a running replica cannot take on: restarts, binary
	Restarted string            `json:"restarted,omitempty"` // when a restart was last asked for; part of Revision
	Binary    string            `json:"binary,omitempty"`    // path of the program to run; "" is the supervisor's own; part of Revision
	Drain     time.Duration     `json:"drain_ns,omitempty"`  // what open requests have when a replica leaves; 0 is as its program was started
	Origin    Origin            `json:"origin,omitzero"`
}

// A Replica is one process of a gateway group, as its supervisor reports it.
type Replica struct {
	ID        string `json:"id"` // of the data plane: "ingressgateway-1"
	Group     string `json:"group"`
	Namespace string `json:"namespace"`
	Revision  string `json:"revision"`
	Ready     bool   `json:"ready"`
	Leaving   bool   `json:"leaving,omitempty"`
	Drained   bool   `json:"drained,omitempty"` // it accepts nothing, because of somebody other than its supervisor; unless Leaving, nobody replaces it
	PID       int    `json:"pid"`
	Admin     string `json:"admin"` // address of its admin API
}
