package wire

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Usage is what processes used: processor time to the nanosecond, and its two parts to the hundredth of a second.
type Usage struct {
	Total, User, System time.Duration
}

func (u Usage) minus(v Usage) Usage {
	return Usage{u.Total - v.Total, u.User - v.User, u.System - v.System}
}

// Used adds up what processes have used so far.
func Used(pids []int) (Usage, error) {
	var sum Usage
	for _, pid := range pids {
		total, err := ProcessCPU(pid)
		if err != nil {
			return Usage{}, fmt.Errorf("the CPU time of process %d: %w", pid, err)
		}
		user, system, err := ticks(pid)
		if err != nil {
			return Usage{}, err
		}
		sum = Usage{sum.Total + total, sum.User + user, sum.System + system}
	}
	return sum, nil
}

// ticks reads utime and stime of a process, fields 14 and 15 of proc_pid_stat(5), in ticks of USER_HZ, which Linux
// keeps at 100.
func ticks(pid int) (user, system time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	_, after, _ := bytes.Cut(b[bytes.LastIndexByte(b, ')')+1:], []byte(" "))
	fields := bytes.Fields(after)
	const utime, stime = 14 - 3, 15 - 3 // after says field 3 first
	if len(fields) <= stime {
		return 0, 0, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	const tick = time.Second / 100
	u, err := strconv.Atoi(string(fields[utime]))
	if err != nil {
		return 0, 0, err
	}
	s, err := strconv.Atoi(string(fields[stime]))
	return time.Duration(u) * tick, time.Duration(s) * tick, err
}
