// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The size of the chart: 600 points are 800 pixels.
const (
	chartWidth   = 600
	chartHeight  = 330
	legendHeight = 26
	textSize     = 11
	barWidth     = 10
)

// barColors are those of the contestants, which the color-blind tell apart too.
var barColors = []color.Color{
	color.RGBA{R: 0x99, G: 0x99, B: 0x99, A: 0xff},
	color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
	color.RGBA{R: 0xe6, G: 0x9f, B: 0x00, A: 0xff},
	color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
}

// drawChart writes what a record costs as SVG: a group of bars for each workload, a bar for each contestant.
func drawChart(w io.Writer, m *measurements) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	workloads := costs(m)
	all := bars(m, workloads)
	low, high, err := decades(all)
	if err != nil {
		return err
	}
	p := newPlot(workloads)
	svg := vgsvg.New(chartWidth, chartHeight)
	canvas := draw.New(svg)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Path())
	for i, values := range all {
		chart, err := plotter.NewBarChart(values, barWidth)
		if err != nil {
			return fmt.Errorf("draw the bars: %w", err)
		}
		chart.Color = barColors[i]
		chart.LineStyle.Width = 0
		chart.Offset = barWidth * vg.Length(float64(i)-float64(len(all)-1)/2)
		p.Add(chart)
		drawLegend(canvas, i, chart)
	}
	p.Y.Min, p.Y.Max = low, high // Add has lowered it to the zero at which bars begin
	p.Draw(draw.Crop(canvas, 8, -8, 6, -legendHeight))
	return writeSVG(w, svg)
}

// bars returns a series for each contestant, with zero for a workload in which it takes no part.
func bars(m *measurements, workloads []string) []plotter.Values {
	all := make([]plotter.Values, len(contestants))
	for i, by := range contestants {
		for _, workload := range workloads {
			height := 0.0
			if values := costOf(m, workload, by); len(values) > 0 {
				height = summarize(values).Center
			}
			all[i] = append(all[i], height)
		}
	}
	return all
}

// newPlot returns the axes.
func newPlot(workloads []string) *plot.Plot {
	p := plot.New()
	p.Y.Label.Text = "CPU ns per record, log scale"
	p.Y.Label.TextStyle.Font.Size = textSize
	p.Y.Tick.Label.Font.Size = textSize
	p.X.Tick.Label.Font.Size = textSize
	p.NominalX(workloads...)
	p.X.Min, p.X.Max = -0.5, float64(len(workloads))-0.5
	p.Y.Scale = logScale{}
	p.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	grid.Horizontal.Color = color.Gray{Y: 0xdd}
	p.Add(grid)
	return p
}

// decades returns the powers of ten that enclose all bars, with room for the lowest to be seen.
func decades(all []plotter.Values) (low, high float64, err error) {
	low, high = math.Inf(1), 0
	for _, values := range all {
		for _, value := range values {
			if value > 0 {
				low, high = min(low, value), max(high, value)
			}
		}
	}
	if high == 0 {
		return 0, 0, errors.New("no cost is positive, so there is nothing to draw")
	}
	return math.Pow(10, math.Floor(math.Log10(low/1.2))), math.Pow(10, math.Ceil(math.Log10(high))), nil
}

// logScale is a log scale at whose lower end is all that is below, such as the zero at which bars begin.
type logScale struct{}

func (logScale) Normalize(low, high, x float64) float64 {
	return plot.LogScale{}.Normalize(low, high, max(x, low))
}

// drawLegend draws the entry of one contestant above the plot, one beside the other.
func drawLegend(canvas draw.Canvas, i int, bar plot.Thumbnailer) {
	const left, width = 60, 120
	legend := plot.NewLegend()
	legend.Top, legend.Left = true, true
	legend.ThumbnailWidth = textSize
	legend.TextStyle.Font.Size = textSize
	legend.Add(contestants[i], bar)
	legend.Draw(draw.Crop(canvas, left+vg.Length(i)*width, 0, 0, -6))
}

// writeSVG writes a drawing, in fonts that are alike where that of the plot is not installed.
func writeSVG(w io.Writer, svg *vgsvg.Canvas) error {
	var text bytes.Buffer
	if _, err := svg.WriteTo(&text); err != nil {
		return fmt.Errorf("write the chart: %w", err)
	}
	fonts := []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif")
	_, err := w.Write(bytes.ReplaceAll(text.Bytes(), []byte("font-family:Liberation Sans"), fonts))
	if err != nil {
		return fmt.Errorf("write the chart: %w", err)
	}
	return nil
}
