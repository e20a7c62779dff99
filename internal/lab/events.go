package lab

import "time"

// An event is something that will happen.
type event struct {
	at    time.Duration
	order uint64 // of those at the same time, the first planned is the first to happen
	do    func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

// Events is a heap of events, the earliest first. It is written out because a simulation does little else, and
// package container/heap would allocate for each.
type events struct {
	queue []event
	count uint64
}

func (e *events) push(at time.Duration, do func()) {
	e.count++
	e.queue = append(e.queue, event{at: at, order: e.count, do: do})
	q := e.queue
	for i := len(q) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q[i].before(&q[parent]) {
			break
		}
		q[i], q[parent] = q[parent], q[i]
		i = parent
	}
}

func (e *events) pop() event {
	first, last := e.queue[0], len(e.queue)-1
	e.queue[0] = e.queue[last]
	e.queue[last] = event{}
	e.queue = e.queue[:last]
	q := e.queue
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < len(q) && q[child+1].before(&q[child]) {
			child++
		}
		if child >= len(q) || !q[child].before(&q[i]) {
			return first
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}
