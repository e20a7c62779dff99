package holdtest

import (
	"math"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/hold"
)

func heldThenReleased(s *scene) {
	app, orders, bills := s.begin(nil), s.service("orders"), s.service("bills")
	s.registers(app, orders)
	s.registers(app, bills)
	s.believes(app, orders)
	s.believes(app, bills)
	s.staysUnseen(orders)
	s.unseen(bills)
	s.registers(app, orders) // some say it twice
	s.wants("hold.registered", 2)
	s.wants("hold.released", 0)
	s.release()
	s.seen(orders)
	s.seen(bills)
	s.believes(app, orders)
	s.wants("hold.released", 2)
	s.remove()
	s.unseen(orders)
	s.unseen(bills)
	s.believes(app, orders)
	s.wants("hold.withdrawn", 2)
}

func lateIsPassedOn(s *scene) {
	app, orders, bills := s.begin(nil), s.service("orders"), s.service("bills")
	ctx, cancel := s.briefly()
	defer cancel()
	s.is("Put without registrations", s.gate.Put(ctx, instance()), hold.ErrNothing)
	s.registers(app, orders)
	s.annotated(s.seen(orders))
	s.release()
	s.registers(app, bills)
	s.annotated(s.seen(bills))
	s.wants("hold.registered", 0)
	s.wants("hold.released", 2)
}

// annotated fails the test unless what others find says what the agent published.
func (s *scene) annotated(seen *Seen) {
	s.Helper()
	if s.Room.Metadata && seen.Metadata["crossfade.incarnation"] != instance().Incarnation {
		s.Errorf("its metadata is %v", seen.Metadata)
	}
}

func takenBackHeld(s *scene) {
	app, orders := s.begin(nil), s.service("orders")
	s.registers(app, orders)
	s.deregisters(app, orders)
	if there, err := app.Sees(s.Context(), orders); err != nil || there {
		s.Errorf("the application took itself out, and finds itself: %v, %v", there, err)
	}
	ctx, cancel := s.briefly()
	defer cancel()
	s.is("Put when all is taken back", s.gate.Put(ctx, instance()), hold.ErrNothing)
	s.staysUnseen(orders)
	s.registers(app, orders)
	s.seen(orders)
}

func takenBackReleased(s *scene) {
	app, orders := s.begin(nil), s.service("orders")
	s.registers(app, orders)
	s.release()
	s.seen(orders)
	s.deregisters(app, orders)
	s.unseen(orders)
	s.registers(app, orders)
	s.seen(orders)
	s.deregisters(app, orders)
	s.unseen(orders)
	s.remove()
	s.staysUnseen(orders)
}

func connectsAgain(s *scene) {
	app, orders := s.begin(nil), s.service("orders")
	s.registers(app, orders)
	s.reconnects(app)
	s.staysUnseen(orders)
	s.believes(app, orders)
	s.release()
	s.comes(orders)
	s.reconnects(app)
	s.comes(orders)
	s.believes(app, orders)
	s.remove()
	s.unseen(orders)
	s.reconnects(app)
	s.staysUnseen(orders)
	s.believes(app, orders)
}

func neverComesBack(s *scene) {
	app, orders, bills := s.begin(nil), s.service("orders"), s.service("bills")
	s.registers(app, orders)
	s.release()
	s.seen(orders)
	s.remove()
	s.unseen(orders)
	for range 3 {
		s.registers(app, orders)
		s.registers(app, bills)
		s.unseen(orders)
		s.unseen(bills)
		s.believes(app, orders)
		s.reconnects(app)
		s.unseen(orders)
		s.deregisters(app, bills)
		if err := s.gate.Put(s.Context(), instance()); err == nil {
			s.Error("what has left is put again")
		}
	}
	s.staysUnseen(orders)
	s.staysUnseen(bills)
	if n := s.gate.Count(); n.Swallowed < 6 || n.Held+n.Released > 0 {
		s.Errorf("counted: %+v", n)
	}
}

func leavesHeld(s *scene) {
	app, orders := s.begin(nil), s.service("orders")
	s.registers(app, orders)
	leaving := instance()
	leaving.Leaving = true
	s.put(leaving)
	s.staysUnseen(orders)
	s.registers(app, orders)
	s.remove()
	s.registers(app, orders)
	s.staysUnseen(orders)
	s.wants("hold.released", 0)
	s.wants("hold.withdrawn", 0)
}

func leavingRegistersNothing(s *scene) {
	app, orders, bills := s.begin(nil), s.service("orders"), s.service("bills")
	s.registers(app, orders)
	s.release()
	leaving := instance()
	leaving.Leaving = true
	s.put(leaving)
	for range 2 {
		seen := s.seen(orders)
		if s.Room.Metadata && seen.Metadata["crossfade.leaving"] != "true" {
			s.Errorf("it leaves, and its metadata says %v", seen.Metadata)
		}
		if s.Room.Leaving && !seen.Leaving {
			s.Errorf("it leaves, and others find %+v", *seen)
		}
		s.registers(app, bills)
		s.unseen(bills)
		s.registers(app, orders) // again, as beats do: it is still there, and still leaves
	}
	s.remove()
	s.unseen(orders)
	s.staysUnseen(bills)
}

func killedDisappears(s *scene) {
	orders, bills := s.service("orders"), s.service("bills")
	held, plain := s.begin(nil), s.World.App("", port+2)
	s.registers(held, orders)
	held.Kill()
	_ = s.gate.Put(s.Context(), instance()) // nobody may have seen yet that it died
	s.goes(orders)
	s.staysUnseen(orders)

	app := s.begin(nil)
	s.registers(app, bills)
	s.registers(plain, bills)
	s.release()
	s.seen(bills)
	app.Kill()
	plain.Kill()
	s.until("nobody is left, with a proxy or without", func() bool {
		list, err := s.Peer(s.Context(), bills)
		return err == nil && len(list) == 0
	})
	s.remove() // of one that is not there
}

func marksAreSeen(s *scene) {
	app, orders, bills := s.begin(nil), s.service("orders"), s.service("bills")
	s.registers(app, orders)
	for _, share := range []float64{0.25, 0.5} {
		ramping := instance()
		ramping.Ramp = share
		s.put(ramping)
		s.weighs(orders, share)
		s.registers(app, orders) // with the whole weight, as clients do
		s.weighs(orders, share)
	}
	s.registers(app, bills)
	s.weighs(bills, 0.5)
	s.release()
	s.weighs(orders, 1)
	s.weighs(bills, 1)
	changed := instance()
	changed.Labels = map[string]string{"version": "2"}
	s.put(changed)
	if seen := s.seen(orders); s.Room.Metadata && seen.Metadata["crossfade.labels.version"] != "2" {
		s.Errorf("its metadata is %v", seen.Metadata)
	}
	s.remove()
	s.unseen(orders)
	s.unseen(bills)
}

// weighs fails the test unless others find this part of the weight that the application said, to a hundredth.
func (s *scene) weighs(service string, share float64) {
	s.Helper()
	seen := s.seen(service)
	s.annotated(seen)
	if s.Room.Weight && math.Abs(seen.Weight-share) > 0.01 {
		s.Errorf("its share in %s is %v, want %v", service, seen.Weight, share)
	}
}

func byteForByte(s *scene) {
	orders := s.service("orders")
	plain := s.World.App("", port)
	s.registers(plain, orders)
	want := s.seen(orders).Raw
	s.deregisters(plain, orders)
	plain.Kill()
	s.goes(orders)

	app := s.begin(func(g *hold.Gate) { g.Annotate = false })
	s.registers(app, orders)
	s.release()
	same := func(change func(*fleet.Instance)) {
		s.Helper()
		in := instance()
		change(&in)
		s.put(in)
		if got := s.seen(orders).Raw; got != want {
			s.Errorf("others find\n%q\nwithout a proxy\n%q", got, want)
		}
	}
	same(func(*fleet.Instance) {})
	same(func(in *fleet.Instance) { in.Labels = map[string]string{"version": "2"} })
	s.registers(app, orders)
	same(func(in *fleet.Instance) { in.Leaving = true })
	s.remove()
	s.unseen(orders)
}
