package check

import (
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/profilenode/profilenode/scripts/jepsen/internal/history"
)

// defaultTimePerKey is for one searcher on one key. A sound key of ten thousand operations takes well below a second.
const defaultTimePerKey = 10 * time.Second

// checkLinearizability searches each key for an order of its operations that the model allows. Two searchers that share the model
// alone look at each key; where one runs out of time the other's decision counts, and if they differ nothing is decided.
func checkLinearizability(h *History) (found []Violation) {
	found = make([]Violation, len(h.keys))
	var group sync.WaitGroup
	keys := make(chan int)
	var mu sync.Mutex
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := range keys {
				v, by := h.linearize(h.profiles[h.keys[i]])
				found[i] = v
				mu.Lock()
				h.Statistics.DecidedBy[by]++
				mu.Unlock()
			}
		})
	}
	for i := range h.keys {
		keys <- i
	}
	close(keys)
	group.Wait()
	kept := found[:0]
	for _, v := range found {
		if v.Text != "" {
			kept = append(kept, v)
		}
	}
	return kept
}

// linearize decides one key, and says which searchers decided. A violation without a text is none.
func (h *History) linearize(p *profile) (v Violation, by string) {
	limit := h.Options.TimePerKey
	if limit == 0 {
		limit = defaultTimePerKey
	}
	m := profileModel{h.Header.Autosave}
	steps := h.patch(p)
	own := searchLinearization(m, steps, limit)
	second := limit
	if own.decision != undecided {
		second = limit / 50 // it is a second opinion then, which many clients of one key make long
	}
	operations := porcupineOperations(steps)
	other := porcupine.CheckOperationsTimeout(m.porcupineModel(), operations, second)
	v = Violation{Invariant: "I1, I2", Key: p.key}
	if own.stuck != nil {
		v.Operations = copyOperations(own.stuck.operation)
	}
	switch {
	case own.decision == undecided && other == porcupine.Unknown:
		v.Undecided, by = true, "nobody"
		v.Text = fmt.Sprintf("neither searcher came to an end in %v", limit)
		return v, by
	case own.decision == undecided:
		by = "porcupine"
	case other == porcupine.Unknown:
		by = "searcher"
	case (own.decision == linearizable) != (other == porcupine.Ok):
		v.Undecided, by = true, "nobody"
		v.Text = fmt.Sprintf("porcupine says %s, and the other searcher does not: one of the two is wrong", other)
		return v, by
	default:
		by = "both"
	}
	if own.decision == linearizable || other == porcupine.Ok {
		return Violation{}, by
	}
	v.Text = fmt.Sprintf("no order of its %d operations is allowed; the longest attempt placed %d and ended at this one", len(steps), own.placed)
	if h.Options.Pages != "" {
		name, err := h.writePage(m, p, operations, limit)
		if err != nil {
			v.Text += fmt.Sprintf(" (no page: %v)", err)
		}
		v.Page = name
	}
	return v, by
}

// porcupineOperations gives each process a client, so that the page has a line for each.
func porcupineOperations(steps []timedStep) []porcupine.Operation {
	clients := map[string]int{}
	var all []porcupine.Operation
	for i := range steps {
		s := &steps[i]
		client, known := clients[s.process]
		if !known {
			client = len(clients)
			clients[s.process] = client
		}
		all = append(all, porcupine.Operation{ClientId: client, Input: &s.step, Call: int64(s.call), Return: int64(s.end)})
	}
	return all
}

var stateSeed = maphash.MakeSeed()

func (m profileModel) porcupineModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return profileState{} },
		Step: func(state, input, _ any) (bool, any) {
			after, ok := m.apply(state.(profileState), input.(*step))
			return ok, after
		},
		Hash:              func(state any) uint64 { return maphash.Comparable(stateSeed, state.(profileState)) },
		DescribeOperation: func(input, _ any) string { return input.(*step).String() },
		DescribeState:     func(state any) string { return state.(profileState).String() },
	}
}

// String is a step in a few words.
func (a *step) String() string {
	text := string(a.action)
	if a.session != "" {
		text += " " + a.session
	}
	if a.doc.writer != "" {
		text += fmt.Sprintf(" %s#%d", a.doc.writer, a.doc.seq)
	}
	if a.action == history.Set && a.expected != history.AnyRevision {
		text += fmt.Sprintf(" over %d", a.expected)
	}
	switch {
	case a.unknown:
		return text + ": unknown"
	case a.action == history.Start:
		return text + fmt.Sprintf(": grant %d, revision %d", a.loads, a.revision)
	}
	return text + fmt.Sprintf(": revision %d", a.revision)
}

// writePage writes porcupine's page of a key, with the faults of the run beside its operations, and returns its file name.
func (h *History) writePage(m profileModel, p *profile, operations []porcupine.Operation, limit time.Duration) (string, error) {
	last := h.length + time.Second
	for i := range operations { // one that never returned would make a page of 292 years
		operations[i].Return = min(operations[i].Return, int64(last))
	}
	_, info := porcupine.CheckOperationsVerbose(m.porcupineModel(), operations, limit)
	var faults []porcupine.Annotation
	for _, f := range h.Faults {
		faults = append(faults, porcupine.Annotation{
			Tag: "fault", Start: int64(f.Begin), End: int64(min(f.End, last)), Description: f.Name + " " + f.Node, Details: f.Detail, BackgroundColor: "#ffb3b3",
		})
	}
	info.AddAnnotations(faults)
	name := "porcupine-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, p.key) + ".html"
	file, err := os.Create(filepath.Join(h.Options.Pages, name))
	if err != nil {
		return "", err
	}
	if err := porcupine.Visualize(m.porcupineModel(), info, file); err != nil {
		_ = file.Close()
		return "", err
	}
	return name, file.Close()
}
