package dns

import (
	"net/netip"
	"slices"
	"strings"
)

// Hosts are the names of a hosts(5) file, in lower case and without a dot at the end, with their addresses in
// the file's order.
type hosts map[string][]netip.Addr

// parseHosts reads a hosts(5) file. Lines that name no address are passed over.
func parseHosts(data []byte) hosts {
	table := hosts{}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		addr = addr.Unmap()
		for _, name := range fields[1:] {
			name = plain(name)
			if !slices.Contains(table[name], addr) {
				table[name] = append(table[name], addr)
			}
		}
	}
	return table
}

// of returns the addresses of a plain name; nil has none.
func (h *hosts) of(name string) []netip.Addr {
	if h == nil {
		return nil
	}
	return (*h)[name]
}

// plain is a name as the table of hosts knows it.
func plain(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
