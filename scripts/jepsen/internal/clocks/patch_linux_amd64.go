package clocks

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/prometheus/procfs"
)

// function is the one that programs read the time by, in the kernel's table of symbols.
const function = "__vdso_clock_gettime"

// routine is what runs instead. Its arguments are the clock in EDI and the address of seconds and nanoseconds in RSI. It changes
// only registers that a called function may change.
var routine = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, //                   mov   eax, 228 (clock_gettime)
	0x0f, 0x05, //                                     syscall, which changes EAX, RCX and R11
	0x85, 0xc0, //                                     test  eax, eax
	0x75, 0x55, //                                     jne   end
	0x44, 0x0f, 0xb6, 0x05, 0x7d, 0x00, 0x00, 0x00, // movzx r8d, byte [rip + slotAt - 0x13]
	0x4c, 0x8d, 0x0d, 0x56, 0x00, 0x00, 0x00, //       lea   r9, [rip + offsetsAt - 0x1a]
	0x4d, 0x01, 0xc1, //                               add   r9, r8
	0x83, 0xff, 0x00, //                               cmp   edi, 0 (CLOCK_REALTIME)
	0x74, 0x18, //                                     je    add
	0x83, 0xff, 0x05, //                               cmp   edi, 5 (CLOCK_REALTIME_COARSE)
	0x74, 0x13, //                                     je    add
	0x49, 0x83, 0xc1, 0x08, //                         add   r9, 8
	0x83, 0xff, 0x01, //                               cmp   edi, 1 (CLOCK_MONOTONIC)
	0x74, 0x0a, //                                     je    add
	0x83, 0xff, 0x06, //                               cmp   edi, 6 (CLOCK_MONOTONIC_COARSE)
	0x74, 0x05, //                                     je    add
	0x83, 0xff, 0x07, //                               cmp   edi, 7 (CLOCK_BOOTTIME)
	0x75, 0x26, //                                     jne   end
	0x49, 0x8b, 0x01, //                         add:  mov   rax, [r9] (nanoseconds, of either sign)
	0x48, 0x03, 0x46, 0x08, //                         add   rax, [rsi+8]
	0x41, 0xb8, 0x00, 0xca, 0x9a, 0x3b, //             mov   r8d, 1000000000
	0x48, 0x99, //                                     cqo
	0x49, 0xf7, 0xf8, //                               idiv  r8 (to seconds in RAX, and the rest, of the same sign, in RDX)
	0x48, 0x85, 0xd2, //                               test  rdx, rdx
	0x79, 0x06, //                                     jns   store
	0x4c, 0x01, 0xc2, //                               add   rdx, r8
	0x48, 0xff, 0xc8, //                               dec   rax
	0x48, 0x01, 0x06, //                       store:  add   [rsi], rax
	0x48, 0x89, 0x56, 0x08, //                         mov   [rsi+8], rdx
	0x31, 0xc0, //                                     xor   eax, eax
	0xc3, //                                     end:  ret
}

// What lies behind the routine, by its distance from the routine's first byte. Offsets are read from one of two slots, so that
// new ones are written beside those in use, and one byte then changes the slot.
const (
	offsetsAt  = 112 // two slots, each with the offsets of the wall and of the monotonic clock
	slotBytes  = 16
	slotAt     = 144 // the distance of the slot in use from offsetsAt
	originalAt = 152 // what the jump lies over
	patchBytes = 160

	entryBytes = 8  // that are exchanged at the function's entry
	margin     = 64 // between the last byte of the image that is not zero and the routine
)

// patch is the routine in a process's memory.
type patch struct {
	pid       int
	memory    *os.File
	entry, at int64 // addresses of the function and of the routine
	slot      byte
}

// applyPatch writes the routine, and the jump to it, into a process. One that is there already, with its offsets, is taken over.
func applyPatch(pid int) (p *patch, wall, monotonic time.Duration, err error) {
	begin, end, err := findImage(pid)
	if err != nil {
		return nil, 0, 0, err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, 0, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, memory.Close())
		}
	}()
	image := make([]byte, end-begin)
	if _, err := memory.ReadAt(image, begin); err != nil {
		return nil, 0, 0, fmt.Errorf("read its vDSO: %w", err)
	}
	offset, err := findFunction(image)
	if err != nil {
		return nil, 0, 0, err
	}
	p = &patch{pid: pid, memory: memory, entry: begin + offset}
	if at := bytes.Index(image, routine); at >= 0 {
		return p.takeOver(begin+int64(at), image[at:])
	}
	free := (len(bytes.TrimRight(image, "\x00")) + margin + 15) / 16 * 16
	if free+patchBytes > len(image) {
		return nil, 0, 0, fmt.Errorf("its vDSO has %d bytes, and no room for %d more", len(image), patchBytes)
	}
	p.at = begin + int64(free)
	block := make([]byte, patchBytes)
	copy(block, routine)
	copy(block[originalAt:], image[offset:offset+entryBytes])
	return p, 0, 0, p.writeStopped(block, p.makeJump(image[offset:]))
}

// makeJump returns the first bytes of the function with a jump to the routine.
func (p *patch) makeJump(original []byte) []byte {
	const jump = 0xe9 // with a distance of 32 bits from the next instruction
	entry := append([]byte{jump}, original[1:entryBytes]...)
	binary.LittleEndian.PutUint32(entry[1:], uint32(int32(p.at-p.entry-5)))
	return entry
}

// takeOver takes over a routine that is in the process.
func (p *patch) takeOver(at int64, block []byte) (_ *patch, wall, monotonic time.Duration, err error) {
	p.at, p.slot = at, block[slotAt]
	offsets := block[offsetsAt+int(p.slot):]
	wall = time.Duration(binary.LittleEndian.Uint64(offsets))
	monotonic = time.Duration(binary.LittleEndian.Uint64(offsets[8:]))
	return p, wall, monotonic, p.writeStopped(nil, p.makeJump(block[originalAt:]))
}

// beginLimit is how long a process may take to begin: until then the kernel may not have mapped its functions.
const beginLimit = time.Second

// findImage returns where the kernel's functions lie in a process.
func findImage(pid int) (begin, end int64, err error) {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return 0, 0, err
	}
	for deadline := time.Now().Add(beginLimit); ; time.Sleep(time.Millisecond) {
		maps, err := process.ProcMaps()
		if err != nil {
			return 0, 0, err
		}
		for _, m := range maps {
			if m.Pathname == "[vdso]" {
				return int64(m.StartAddr), int64(m.EndAddr), nil
			}
		}
		if time.Now().After(deadline) {
			return 0, 0, errors.New("it has no vDSO")
		}
	}
}

// findFunction returns where the function begins in the image.
func findFunction(image []byte) (int64, error) {
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, fmt.Errorf("read its vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, fmt.Errorf("read its vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name == function && s.Value+entryBytes < uint64(len(image)) {
			return int64(s.Value), nil
		}
	}
	return 0, fmt.Errorf("its vDSO has no %s", function)
}

// writeStopped writes the block of the routine, if there is one, and the function's first bytes, while no thread runs.
func (p *patch) writeStopped(block, entry []byte) error {
	return whileStopped(p.pid, p.entry+1, p.entry+entryBytes, func() error {
		if len(block) > 0 {
			if _, err := p.memory.WriteAt(block, p.at); err != nil {
				return err
			}
		}
		_, err := p.memory.WriteAt(entry, p.entry)
		return err
	})
}

// setOffsets changes the offsets while the process runs.
func (p *patch) setOffsets(wall, monotonic time.Duration) error {
	if p.memory == nil {
		return errors.New("it is detached")
	}
	next := p.slot ^ slotBytes
	offsets := binary.LittleEndian.AppendUint64(nil, uint64(wall))
	offsets = binary.LittleEndian.AppendUint64(offsets, uint64(monotonic))
	if _, err := p.memory.WriteAt(offsets, p.at+offsetsAt+int64(next)); err != nil {
		return err
	}
	if _, err := p.memory.WriteAt([]byte{next}, p.at+slotAt); err != nil {
		return err
	}
	p.slot = next
	return nil
}

// detach takes the jump away, or only sets the wall right while the monotonic clock is ahead.
func (p *patch) detach(monotonic time.Duration) error {
	if p.memory == nil {
		return nil
	}
	err := p.setOffsets(0, monotonic)
	if err == nil && monotonic == 0 {
		original := make([]byte, entryBytes)
		if _, err = p.memory.ReadAt(original, p.at+originalAt); err == nil {
			err = p.writeStopped(nil, original)
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, os.ErrProcessDone) {
		err = nil // it has ended
	}
	err = errors.Join(err, p.memory.Close())
	p.memory = nil
	return err
}

// Probe says why clocks cannot be set here; nil: they can.
func Probe() error {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		return err
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	c, err := Attach(child.Process.Pid)
	if err != nil {
		return err
	}
	return errors.Join(c.Set(time.Second, 0), c.Detach())
}
