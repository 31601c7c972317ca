package sim

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/profilenode/profilenode/api/profilev1"
	"github.com/profilenode/profilenode/internal/sim/check"
	"github.com/profilenode/profilenode/internal/wire"
)

// A forgery is a copy of a request with something in it by which every node must refuse it: the binding of another cluster,
// the bits of another registration, or a field that no build knows. It has other data and another hash than the request, so
// that it shows in the log if it is carried out, and ends the incarnation if it reaches the table of answers.
type forgery uint8

const (
	otherCluster forgery = iota
	otherRegistration
	unknownField
	unknownNestedField
	forgeries
)

func (f forgery) String() string {
	return [...]string{"another cluster's binding", "another registration's bits", "an unknown field", "a nested unknown field"}[f]
}

// forgeCopy makes a forgery out of a request. It returns false if a request of that method has nothing to forge.
func forgeCopy(l requestCopy, kind forgery) (requestCopy, bool) {
	request := decodeRequest(l)
	if request == nil {
		return requestCopy{}, false
	}
	m := request.ProtoReflect()
	fields := m.Descriptor().Fields()
	asks := m // the message that has binding and registration
	if nested := fields.ByName("request"); nested != nil {
		asks = m.Mutable(nested).Message()
	}
	switch kind {
	case otherCluster:
		if named := fields.ByName("cluster"); named != nil { // a registration
			m.Set(named, protoreflect.ValueOfBytes([]byte("another cluster!")))
		} else if !flipNumber(asks, "binding") {
			return requestCopy{}, false
		}
	case otherRegistration:
		if !flipNumber(asks, "registration") {
			return requestCopy{}, false
		}
	case unknownField, unknownNestedField:
		// Where level and features are learned, unknown fields are ignored.
		switch request.(type) {
		case *profilev1.RegisterRequest, *profilev1.StatusRequest, *profilev1.Renewal:
			return requestCopy{}, false
		}
		at := m
		if kind == unknownNestedField {
			if at = asks; at == m {
				return requestCopy{}, false
			}
			if claims := fields.ByName("claims"); claims != nil && m.Get(claims).List().Len() > 0 {
				at = m.Get(claims).List().Get(0).Message()
			}
		}
		at.SetUnknown([]byte{0xf8, 0x7f, 1}) // field 2047: 1
	}
	if asks != m {
		flipNumber(asks, "hash")
	}
	if data := fields.ByName("data"); data != nil {
		stored, _ := json.Marshal(check.Doc{Writer: check.Forged, Seq: 1})
		sum := sha256.Sum256(stored)
		m.Set(data, protoreflect.ValueOfBytes(stored))
		m.Set(fields.ByName("hash"), protoreflect.ValueOfBytes(sum[:]))
	}
	if body := fields.ByName("body"); body != nil {
		m.Set(body, protoreflect.ValueOfBytes([]byte(`"`+check.Forged+`"`)))
	}
	body, err := proto.Marshal(request)
	return requestCopy{method: l.method, body: body, forged: true, kind: kind}, err == nil
}

// flipNumber changes a number of a message. It returns false if the message has no such field.
func flipNumber(m protoreflect.Message, name protoreflect.Name) bool {
	field := m.Descriptor().Fields().ByName(name)
	if field == nil || field.Kind() != protoreflect.Fixed64Kind {
		return false
	}
	m.Set(field, protoreflect.ValueOfUint64(m.Get(field).Uint()^0x5555))
	return true
}

// decodeRequest makes a message of a request's bytes; nil: they are none.
func decodeRequest(l requestCopy) proto.Message {
	name := strings.ReplaceAll(strings.TrimPrefix(l.method, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	method, ok := found.(protoreflect.MethodDescriptor)
	if err != nil || !ok {
		return nil
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		return nil
	}
	request := kind.New().Interface()
	if proto.Unmarshal(l.body, request) != nil {
		return nil
	}
	return request
}

// forgeSomeCopies makes forgeries of one request in four. The caller holds p.mu.
func (p *reorderingProxy) forgeSomeCopies(l requestCopy) (forged []requestCopy) {
	if p.draw.IntN(4) > 0 {
		return nil
	}
	if f, ok := forgeCopy(l, forgery(p.draw.IntN(int(forgeries)))); ok {
		forged = append(forged, f)
	}
	return forged
}

// checkForgedAnswer reports a node that answered a forgery, or refused the request by the rules, which means that it decided
// on the request. A refusal of the copy alone, and no answer at all, are right.
func (p *reorderingProxy) checkForgedAnswer(l requestCopy, addr string, err error) {
	refusal := wire.RefusalIn(err)
	p.mu.Lock()
	if refusal != nil {
		p.refused[l.kind]++
	}
	p.mu.Unlock()
	switch {
	case err == nil:
		p.world.Complain("", "%s carried out a copy of %s with %v", addr, l.method, l.kind)
	case refusal != nil && wire.MeaningOf(refusal.Reason).Fate == wire.Refused:
		p.world.Complain("", "%s judged a copy of %s with %v by the rules: %v", addr, l.method, l.kind, refusal.Reason)
	}
}

// misledCall names a request, of which each attempt of a client is a copy.
type misledCall struct {
	method                    string
	incarnation, number, hash uint64
}

// chooseMisleading draws how an attempt fails. Of one numbered request in eight the first attempt's answer is lost, and the
// second attempt meets a node that refuses its copy as a forgery; the third gets through. So a client is told of a refusal
// while an earlier copy of the request is in the log.
func (p *reorderingProxy) chooseMisleading(l requestCopy) (lose bool, instead *requestCopy) {
	numbered, ok := decodeRequest(l).(interface{ GetRequest() *profilev1.Request })
	if !ok || numbered.GetRequest().GetNumber() == 0 {
		return false, nil
	}
	q := numbered.GetRequest()
	name := misledCall{l.method, q.GetIncarnation(), q.GetNumber(), q.GetHash()}
	p.mu.Lock()
	defer p.mu.Unlock()
	kind, second := p.lost[name]
	switch {
	case second:
		delete(p.lost, name)
		if f, ok := forgeCopy(l, kind); ok {
			p.misled++
			return false, &f
		}
	case p.draw.IntN(8) == 0:
		p.lost[name] = forgery(p.draw.IntN(int(forgeries)))
		return true, nil
	}
	return false, nil
}

// passUnaryCall passes one call on that is no stream, or misleads its caller.
func (p *reorderingProxy) passUnaryCall(ctx context.Context, conn *grpc.ClientConn, l requestCopy) (answer rawFrame, err error) {
	lose, instead := p.chooseMisleading(l)
	if instead != nil {
		err := conn.Invoke(ctx, instead.method, &instead.body, &answer, grpc.WaitForReady(true))
		p.checkForgedAnswer(*instead, conn.Target(), err)
		return answer, err
	}
	p.keepCopy(l)
	if err := conn.Invoke(ctx, l.method, &l.body, &answer, grpc.WaitForReady(true)); err != nil {
		return nil, err
	}
	if lose {
		return nil, status.Error(codes.Unavailable, "the answer is lost")
	}
	return answer, nil
}
