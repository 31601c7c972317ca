package profilev1_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/profilenode/profilenode/api/profilev1"
)

// BenchmarkUnknownField is what the look for unknown fields adds to a save of 4 KiB.
func BenchmarkUnknownField(b *testing.B) {
	save := &profilev1.SaveRequest{
		Request: &profilev1.Request{Incarnation: 1, Number: 2, Settled: 1, Hash: 3, Binding: 4, Registration: 5},
		Store:   "players", Key: "ann", Token: 1, Data: make([]byte, 4<<10), Hash: make([]byte, 32), KeepTags: true,
	}
	b.ReportAllocs()
	for b.Loop() {
		if profilev1.UnknownField(save) != "" {
			b.Fatal("a field is unknown")
		}
	}
}

func TestUnknownFieldSaysWhich(t *testing.T) {
	claim := &profilev1.Claim{}
	claim.ProtoReflect().SetUnknown([]byte{0xf8, 0x7f, 1}) // field 2047: 1
	for _, c := range []struct {
		in   proto.Message
		want string
	}{
		{&profilev1.ReclaimRequest{Claims: []*profilev1.Claim{{}, claim}}, "field 2047 of profilenode.v1.Claim"},
		{&profilev1.SetRequest{Tags: map[string]string{"a": "b"}, Request: &profilev1.Request{}}, ""},
	} {
		if got := profilev1.UnknownField(c.in); got != c.want {
			t.Errorf("%T: got %q, want %q", c.in, got, c.want)
		}
	}
}
