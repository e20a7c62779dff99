package series

import "crossfade.dev/internal/meter"

// Rows of a heat map are half octaves from a quarter of a millisecond to 32 seconds.
const (
	perRow   = 1 << meter.Schema / 2
	firstRow = -12 * (1 << meter.Schema) // 2^-12 s
	lastRow  = 5 * (1 << meter.Schema)   // 2^5 s
	rows     = (lastRow-firstRow)/perRow + 2
)

// HeatEdges returns the upper edges of a heat map's rows, in milliseconds; the last row has none.
func HeatEdges() []float64 {
	edges := make([]float64, rows-1)
	for i := range edges {
		edges[i] = 1000 * meter.Edge(firstRow+i*perRow)
	}
	return edges
}

// HeatRow returns how many answers each row of a heat map has.
func (h *Histogram) HeatRow() []uint32 {
	out := make([]uint32, rows)
	for _, b := range *h {
		row := (int(b.Index) - firstRow + perRow - 1) / perRow
		out[min(max(row, 0), rows-1)] += uint32(min(b.N, 1<<31))
	}
	return out
}
