package picker

// Pairs draws two candidates for a choice between the less loaded of two. Those that warm up may be drawn
// second only with a probability of their own: so a cold one, idle because it gets little, is not handed
// requests for being idle. It is immutable and safe for concurrent use.
type Pairs struct {
	all  *Table
	warm *Table
	stay []uint64
	cold []uint64 // a bit for each index that may not always stay: few, and looked at with every draw
}

// NewPairs returns the pairs over weights. stay holds for each index the probability with which it may be drawn
// second, 1 for those that do not warm up; whoever may not is replaced by one of those, by weight.
func NewPairs(weights, stay []float64) *Pairs {
	p := &Pairs{all: NewTable(weights), stay: make([]uint64, len(weights))}
	p.warm = p.all
	for i, s := range stay {
		if p.stay[i] = Fraction(s); p.stay[i] != always {
			if p.cold == nil {
				p.cold = make([]uint64, (len(weights)+63)/64)
			}
			p.cold[i/64] |= 1 << (i % 64)
		}
	}
	if p.cold != nil {
		warm := make([]float64, len(weights))
		for i, w := range weights {
			if p.stay[i] == always {
				warm[i] = w
			}
		}
		p.warm = NewTable(warm)
	}
	return p
}

// Draw returns two candidates, the first in proportion to the weights. They are the same when nobody else may
// be drawn second, and -1 when there is nobody at all. except is an index that is drawn only when there is
// nobody else; -1 excepts nobody. random is uniform over all 64 bits.
func (p *Pairs) Draw(random uint64, except int) (first, second int) {
	first = p.all.Draw(random)
	if first < 0 {
		return first, first
	}
	if first == except {
		random = Mix(random)
		if other := p.all.DrawOther(random, except); other >= 0 {
			first = other
		}
	}
	random = Mix(^random)
	if second = p.all.Draw(random); second == first { // seldom, and then dearer
		second = p.all.DrawOther(Mix(random), first)
	}
	if p.cold != nil && second >= 0 && p.cold[second/64]>>(second%64)&1 != 0 {
		if random = Mix(^random); random >= p.stay[second] {
			second = p.warm.DrawOther(Mix(^random), first)
		}
	}
	if second < 0 || second == except {
		second = first
	}
	return first, second
}
