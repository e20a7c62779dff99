package fleet

// A Hello says who follows control.
type Hello struct {
	ID   string `json:"id"`   // unique among those that follow: "ingressgateway-1", "local"
	Role string `json:"role"` // "gateway", "local" or "supervisor"
}
