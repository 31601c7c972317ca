package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBins(t *testing.T) {
	if got := histogramBins(nil); got != nil {
		t.Errorf("without samples: got %v", got)
	}
	s := durationSamples{900 * time.Microsecond, time.Millisecond, 1999 * time.Microsecond, 2 * time.Millisecond, 40 * time.Millisecond}
	want := []histogramBin{
		{500 * time.Microsecond, time.Millisecond, 1},
		{time.Millisecond, 2 * time.Millisecond, 2},
		{2 * time.Millisecond, 5 * time.Millisecond, 1},
		{5 * time.Millisecond, 10 * time.Millisecond, 0},
		{10 * time.Millisecond, 20 * time.Millisecond, 0},
		{20 * time.Millisecond, 50 * time.Millisecond, 1},
	}
	if got := histogramBins(s); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, edge := range []time.Duration{0, 100 * time.Microsecond, 500 * time.Microsecond, time.Second, 5 * time.Second, time.Minute} {
		got := histogramBins(durationSamples{edge})
		if len(got) != 1 || got[0].count != 1 || got[0].from > edge || got[0].to <= edge {
			t.Errorf("%v alone lies in %v", edge, got)
		}
	}
}

func TestHistogram(t *testing.T) {
	var out bytes.Buffer
	s := durationSamples{300 * time.Millisecond}
	for range 1000 {
		s = append(s, 3*time.Millisecond)
	}
	printHistogram(&out, s)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 7 {
		t.Fatalf("got %d lines, want 7, one for each bin from 2 ms to 500 ms:\n%s", len(lines), out.String())
	}
	if got := strings.Count(lines[0], "█"); got != 48 {
		t.Errorf("the fullest bin has a bar of %d blocks, want 48", got)
	}
	if !strings.HasSuffix(lines[6], "▌") || !strings.Contains(lines[6], "100.0 %") {
		t.Errorf("one of a thousand is drawn as %q", lines[6])
	}
	if strings.ContainsAny(lines[3], "█▌") {
		t.Errorf("an empty bin is drawn as %q", lines[3])
	}
}

func TestTakeoverJSON(t *testing.T) {
	phases := takeoverPhases()
	var out bytes.Buffer
	outcomes := []phaseResult{
		{phase: phases[0], got: upTo(100)},
		{phase: phases[1], tries: staleWrites{Tried: 5, Refused: 4, Landed: 1}, visible: 1},
		{phase: phases[2], skipped: "no root"},
	}
	if err := printTakeoverJSON(&out, outcomes); err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	want := []string{"crash", "failover", "handoff", "lost", "message", "steal", "stopped", "zombie_writes_landed", "zombie_writes_tried"}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("keys are %v, want %v", names, want)
	}
	for name, want := range map[string]string{
		phases[0].name: `{"p50":50,"p99":99,"max":100,"n":100}`, phases[2].name: `{"p50":0,"p99":0,"max":0,"n":0}`,
		"zombie_writes_tried": "5", "zombie_writes_landed": "2",
	} {
		if string(got[name]) != want {
			t.Errorf("%s: got %s, want %s", name, got[name], want)
		}
	}
}
