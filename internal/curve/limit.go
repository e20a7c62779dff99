package curve

import "math"

// Limit returns how many requests at once a cold instance may be given that has come to a share: least at 0, most just
// before 1, and 0, which is no limit, at 1. In between it grows by the same factor with every step of the share,
// least × (most/least)^share, for what is cold is protected best while it is coldest. A least below 1 counts as 1, a
// most below least as least, and a share that is no number as 0.
func Limit(share float64, least, most int) int {
	s := Unit(share)
	if s == 1 {
		return 0
	}
	least = max(1, least)
	most = max(least, most)
	return int(math.Round(float64(least) * math.Pow(float64(most)/float64(least), s)))
}
