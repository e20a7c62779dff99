package fleet

// A RegistryState is what control has of one registry that it follows.
type RegistryState struct {
	Name      string `json:"name"`             // its kind: "etcd"; the second of a kind is "etcd-2"
	Away      bool   `json:"away"`             // it cannot be reached: its last list holds
	Instances int    `json:"instances"`        // that it lists
	Foreign   int    `json:"foreign"`          // of these, those that no agent of ours has registered
	Unread    int    `json:"unread,omitempty"` // entries that are no instances
	Lost      int    `json:"lost,omitempty"`   // that it has no more, and that stay while their checks pass
}
