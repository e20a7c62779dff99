package holdtest

import (
	"errors"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
)

func awayHeld(s *scene) {
	app, orders := s.begin(nil), s.service("orders")
	s.registers(app, orders)
	s.Stop()
	s.hears(true)
	s.is("Put while the registry is away", s.gate.Put(s.Context(), instance()), registry.ErrAway)
	s.Start()
	s.hears(false)
	s.release() // that is what makes it ready
	s.comes(orders)
	s.remove()
	s.goes(orders)
}

func awayHeldOpen(s *scene) {
	app, orders := s.begin(func(g *hold.Gate) { g.FailOpen = true }), s.service("orders")
	s.registers(app, orders)
	s.Stop()
	s.hears(true)
	if err := s.gate.Put(s.Context(), instance()); err != nil {
		s.Errorf("Put while a registry is away that need not be waited for: %v", err)
	}
	s.Start()
	s.hears(false)
	s.comes(orders) // nobody puts it again
	s.remove()
	s.goes(orders)
	s.staysUnseen(orders)
}

func awayReleased(s *scene) {
	app, orders, bills := s.begin(nil), s.service("orders"), s.service("bills")
	s.registers(app, orders)
	s.release()
	s.seen(orders)
	s.Stop()
	s.hears(true)
	s.Start()
	s.hears(false)
	s.comes(orders)
	s.reconnects(app)
	s.comes(orders)
	s.until("the application registers in another service", func() bool { return app.Register(s.Context(), bills) == nil })
	s.comes(bills)
	s.remove()
	s.goes(orders)
	s.goes(bills)
	s.reconnects(app)
	s.staysUnseen(orders)
}

func awayLeaving(s *scene) {
	app, orders := s.begin(nil), s.service("orders")
	s.registers(app, orders)
	s.release()
	s.seen(orders)
	s.Stop()
	s.hears(true)
	// Where a registration lives by its connection it is gone with that, and nobody has to be asked.
	if err := s.gate.Remove(s.Context(), instance().Incarnation); err != nil && !errors.Is(err, registry.ErrAway) {
		s.Errorf("Remove while the registry is away: %v", err)
	}
	s.Start()
	s.hears(false)
	s.goes(orders) // nobody removes it again
	s.reconnects(app)
	s.until("the application registers again", func() bool { return app.Register(s.Context(), orders) == nil })
	s.staysUnseen(orders)
	s.remove()
}
