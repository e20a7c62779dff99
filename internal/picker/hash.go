package picker

// Key returns a number that stands for s, uniform over all 64 bits: what a [Ring] or a [Maglev] is asked by. It
// is the same in every process and on every machine, so that all gateways send one client to one place; a hash
// of the standard library is another in every process. It takes eight bytes at a time through [Mix], which maps
// no two numbers to one: two strings of at most eight bytes never share a key unless their lengths differ.
//
// It keeps nobody out who wants a certain key: whoever chooses s can choose where it goes.
func Key[T ~string | ~[]byte](s T) uint64 {
	const seed = 0x6a09e667f3bcc908 // the root of 2
	h := Mix(seed + uint64(len(s)))
	i := 0
	for ; i+8 <= len(s); i += 8 {
		word := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		h = Mix(h ^ word)
	}
	if i == len(s) {
		return h
	}
	var rest uint64
	for k := len(s) - 1; k >= i; k-- {
		rest = rest<<8 | uint64(s[k])
	}
	return Mix(h ^ rest)
}
