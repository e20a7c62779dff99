package warmup

import "testing"

func TestStayIsTheFourthPowerOfTheShareUnlessTheBudgetBinds(t *testing.T) {
	for _, tt := range []struct {
		budget      ShiftBudget
		share, want float64
	}{
		{ShiftBudget{}, 0, 0},
		{ShiftBudget{}, 0.5, 0.0625},
		{ShiftBudget{}, 1, 1},
		{ShiftBudget{Needed: 4, Warm: 8}, 0.5, 0.0625},
		{ShiftBudget{Needed: 4, Warm: 2}, 0.5, 0.5}, // the warm are too few for what is turned down
		{ShiftBudget{Needed: 4, Warm: 8, Floor: 0.2}, 0.5, 1},
	} {
		if got := tt.budget.Stay(tt.share); got != tt.want {
			t.Errorf("%+v: a share of %v stays with %v, want %v", tt.budget, tt.share, got, tt.want)
		}
	}
}
