package fleet

// A Hello says who follows control.
type Hello struct {
	ID   string `json:"id"`   // unique among those that follow: "ingressgateway-1", "local"
	Role string `json:"role"` // "gateway", "local", "supervisor" or "agent"

	Incarnation string `json:"incarnation,omitempty"` // agent: of its instance. Its views hold nothing but that, and the Lifecycle that holds for it
}
