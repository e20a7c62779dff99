package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A leash has the kernel kill a process group when we end, however abruptly: what a child starts does not get its
// Pdeathsig. It is a pipe to which nobody writes: the child and whatever it starts have the end to read from, and when the
// other one is closed, which only we have, the kernel sends the signal that was chosen to the group that owns it; see
// F_SETOWN and F_SETSIG in fcntl(2). The zero leash ties nobody.
type leash struct{ theirs, ours *os.File }

func newLeash() (leash, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return leash{}, fmt.Errorf("pipe: %w", err)
	}
	return leash{theirs: os.NewFile(uintptr(ends[0]), "leash"), ours: os.NewFile(uintptr(ends[1]), "leash")}, nil
}

// tie has the group of a process killed when the leash is let go of. We keep no end of the group's. On a kernel that cannot
// do that the process itself is still killed, by Pdeathsig: no reason not to start it.
func (l *leash) tie(pid int) {
	if l.theirs == nil {
		return
	}
	fd := l.theirs.Fd()
	for _, step := range [][2]int{{unix.F_SETOWN, -pid}, {unix.F_SETSIG, int(unix.SIGKILL)}, {unix.F_SETFL, unix.O_ASYNC}} {
		if _, err := unix.FcntlInt(fd, step[0], step[1]); err != nil {
			break
		}
	}
	_ = l.theirs.Close() // nothing was read
	l.theirs = nil
}

// untie lets go of what is left of the leash.
func (l *leash) untie() {
	for _, end := range []*os.File{l.theirs, l.ours} {
		if end != nil {
			_ = end.Close() // nothing was written
		}
	}
	*l = leash{}
}
