package raftlog

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// sizeModel is the reference model of the marks. It keeps the size of every entry and adds them up.
type sizeModel struct {
	first uint64   // index of the first entry
	sizes []uint64 // sizes of the entries from first on
}

// end returns the index of the next entry to be appended.
func (w *sizeModel) end() uint64 { return w.first + uint64(len(w.sizes)) }

// bytesFrom returns the bytes of the entries from index to the end of the log.
func (w *sizeModel) bytesFrom(index uint64) (bytes uint64) {
	for _, size := range w.sizes[index-w.first:] {
		bytes += size
	}
	return bytes
}

// compareMarks fails the test unless the marks of s agree with the model, and are neither too few nor too many.
func (w *sizeModel) compareMarks(t *testing.T, s *Store, when string) {
	t.Helper()
	s.mu.Lock()
	marks, end := s.marks, s.endBytes
	s.mu.Unlock()
	if len(w.sizes) == 0 {
		if len(marks) != 0 || s.BytesAfter(0) != 0 || s.lastIndexToCut(1) != 0 {
			t.Fatalf("%s: an empty log has marks %v", when, marks)
		}
		return
	}
	if len(marks) == 0 || marks[0].index != w.first {
		t.Fatalf("%s: the first entry is %d and the marks are %v", when, w.first, marks)
	}
	for i, m := range marks {
		if m.index < w.first || m.index >= w.end() || i > 0 && m.index <= marks[i-1].index {
			t.Fatalf("%s: the log is %d to %d, and the marks are %v", when, w.first, w.end()-1, marks)
		}
		if got, want := end-m.bytesBefore, w.bytesFrom(m.index); got != want {
			t.Fatalf("%s: the mark at %d says that %d bytes follow, and %d do", when, m.index, got, want)
		}
	}
	for _, keep := range []uint64{1, 100, s.markDistance, 3 * s.markDistance, 1 << 40} {
		upTo := s.lastIndexToCut(keep)
		if upTo == 0 { // allowed only if a cut before the second mark would leave too little
			if len(marks) > 1 && w.bytesFrom(marks[1].index) >= keep {
				t.Fatalf("%s: nothing may be cut to keep %d, and %d would stay", when, keep, w.bytesFrom(marks[1].index))
			}
			continue
		}
		stays := w.bytesFrom(upTo + 1)
		if stays < keep || stays >= keep+s.markDistance+largest(w.sizes) && len(w.sizes) > 1 {
			t.Fatalf("%s: cut up to %d to keep %d, and %d stay", when, upTo, keep, stays)
		}
	}
	for _, index := range []uint64{w.first - 1, w.first, (w.first + w.end()) / 2, w.end() - 1} {
		exact := w.bytesFrom(min(max(index+1, w.first), w.end()))
		if got := s.BytesAfter(index); got < exact || got > exact+s.markDistance+2*largest(w.sizes) {
			t.Fatalf("%s: %d bytes follow %d, and the marks say %d", when, exact, index, got)
		}
	}
}

func largest(sizes []uint64) (most uint64) {
	for _, size := range sizes {
		most = max(most, size)
	}
	return most
}

// playScript does to a log and to its model the act that each byte of script encodes, and compares them after every act.
func playScript(t *testing.T, script []byte) {
	fs := vfs.NewCrashableMem()
	open := func(fs vfs.FS) *Store {
		s := openEntriesOn(t, fs)
		s.markDistance = 300
		return s
	}
	s, w, disk := open(fs), &sizeModel{first: 1}, fs
	for act, b := range script {
		n, done := uint64(b>>3), ""
		switch b & 7 {
		default:
			done = fmt.Sprintf("append %d", n%5+1)
			if len(w.sizes) == 0 {
				w.first += n // an empty log begins anywhere
			}
			var logs []*raft.Log
			for i := range n%5 + 1 {
				l := &raft.Log{Index: w.end(), Term: 1, Data: make([]byte, (n*37+i*i*90)%700)}
				logs = append(logs, l)
				w.sizes = append(w.sizes, uint64(entrySize(l)))
			}
			mustStore(t, s, logs)
		case 4:
			if len(w.sizes) < 2 {
				continue
			}
			cut := min(n+1, uint64(len(w.sizes))-1)
			done = fmt.Sprintf("cut %d of the head", cut)
			mustCut(t, s, w.first, w.first+cut-1)
			w.first, w.sizes = w.first+cut, w.sizes[cut:]
		case 5:
			cut := min(n%8+1, uint64(len(w.sizes)))
			done = fmt.Sprintf("cut %d of the tail", cut)
			mustCut(t, s, w.end()-cut, w.end()-1)
			w.sizes = w.sizes[:uint64(len(w.sizes))-cut]
		case 6:
			done = "open again"
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(disk)
		case 7:
			done = "lose the power"
			disk = disk.CrashClone(vfs.CrashCloneCfg{})
			_ = s.Close()
			s = open(disk)
			first, last := s.IndexBounds()
			if last == 0 && len(w.sizes) == 0 {
				continue
			}
			if last != w.end()-1 || first > w.first {
				t.Fatalf("act %d: the log is %d to %d, want %d to %d", act, first, last, w.first, w.end()-1)
			}
			mustCut(t, s, first, w.first-1) // a cut of the head need not survive
		}
		w.compareMarks(t, s, fmt.Sprintf("act %d, %s", act, done))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMarksSayHowManyBytesFollow(t *testing.T) {
	for name, script := range map[string][]byte{
		"appends alone":                 {0, 8, 16, 24, 120, 248, 0, 0, 0},
		"a head that is cut":            {8, 80, 160, 32, 12, 248, 4, 8, 36, 248, 4},
		"a tail that is cut":            {8, 80, 160, 32, 5, 248, 13, 21, 8, 5, 240},
		"dropped whole and begun again": {8, 80, 61, 61, 61, 61, 248, 8, 61, 61, 61, 6, 248, 6},
		"another tail, then opened":     {80, 160, 80, 248, 61, 16, 96, 24, 6},
		"opened in between":             {8, 6, 80, 6, 4, 6, 160, 6, 5, 6, 32, 6, 36, 6},
		"power lost in between":         {8, 7, 80, 160, 4, 7, 160, 12, 7, 5, 7, 32, 36, 7, 80, 7},
		"the tail up to a cut head":     {80, 160, 80, 248, 76, 61, 80, 6, 5, 7},
	} {
		t.Run(name, func(t *testing.T) { playScript(t, script) })
	}
}

func FuzzMarks(f *testing.F) {
	f.Add([]byte{8, 80, 160, 32, 12, 248, 4, 8, 36, 248, 4})
	f.Add([]byte{8, 7, 80, 160, 4, 7, 160, 12, 7, 5, 7, 32, 36, 7, 80, 7})
	f.Add([]byte{8, 80, 61, 61, 61, 61, 248, 8, 61, 61, 61, 6, 248, 6})
	f.Fuzz(func(t *testing.T, script []byte) { playScript(t, script[:min(len(script), 60)]) })
}

// A log without marks is read at the start to sum its sizes, and can be cut as before.
func TestALogWithoutMarksIsWeighed(t *testing.T) {
	fs := vfs.NewMem()
	s := openEntriesOn(t, fs)
	logs := entries(1, 5, 60)
	mustStore(t, s, logs)
	batch := s.db.NewBatch()
	if err := deleteMarks(batch, 0, 60); err != nil {
		t.Fatal(err)
	}
	if err := s.commitBatch(batch, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openEntriesOn(t, fs)
	defer s.Close()
	w := &sizeModel{first: 5}
	for _, l := range logs {
		w.sizes = append(w.sizes, uint64(entrySize(l)))
	}
	w.compareMarks(t, s, "opened without marks")
}

// Raft cuts the head by entries, and such a cut is shortened so that enough bytes remain. A cut of the tail is not
// shortened.
func TestRaftsCutLeavesTheTrail(t *testing.T) {
	s := openEntriesOn(t, vfs.NewMem())
	defer s.Close()
	g := &GuardedLog{LogStore: s, onFault: func(err error) { t.Errorf("stopped: %v", err) }}
	g.SetTrailingBytes(40_000, 0)
	logs := entries(1, 1, 100)
	w := &sizeModel{first: 1}
	for _, l := range logs {
		mustStore(t, g, []*raft.Log{l})
		w.sizes = append(w.sizes, uint64(entrySize(l)))
	}
	mustCut(t, g, 1, 95)
	first, _ := s.IndexBounds()
	if stays := w.bytesFrom(first); stays < 40_000 || stays > 40_000+3100 {
		t.Errorf("%d bytes remain, want 40000 and at most an entry more", stays)
	}
	mustCut(t, g, 1, first) // the log is as short as it may be already
	if again, _ := s.IndexBounds(); again != first {
		t.Errorf("the log begins at %d, want %d: too few bytes remain", again, first)
	}
	mustCut(t, g, 90, 100)
	if _, last := s.IndexBounds(); last != 89 {
		t.Errorf("the log ends at %d, want 89: a cut of the tail was shortened", last)
	}
}
