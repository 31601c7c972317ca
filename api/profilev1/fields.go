package profilev1

import (
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// FieldFeatures names for fields of requests, by their full names, the feature that a cluster must announce before anybody
// sends them. A client does not send such a field to a cluster that lacks the feature, and a node refuses it as it
// refuses a field that it does not know. A field that is declared and that no build carries out yet has a feature that no
// level announces.
type FieldFeatures map[protoreflect.FullName]string

// Fields are those that this build knows: every field that it declares belongs to level 1, which needs no feature.
var Fields = FieldFeatures{}

// Missing returns a field of a request that needs a feature which is not among those of the cluster; "" if there is none.
func (f FieldFeatures) Missing(request proto.Message, features []string) (field protoreflect.FullName, feature string) {
	if len(f) == 0 {
		return "", ""
	}
	findMessage(request.ProtoReflect(), func(m protoreflect.Message) bool {
		m.Range(func(set protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			need, ok := f[set.FullName()]
			if ok && !slices.Contains(features, need) {
				field, feature = set.FullName(), need
			}
			return field == ""
		})
		return field != ""
	})
	return field, feature
}

// UnknownField describes a field that a request has, at whatever depth, and that this build does not know; "" if there is
// none. Entries of maps are not looked into: Go's protobuf drops unknown fields there. Every request is looked through, so
// this allocates nothing unless it finds one.
func UnknownField(request proto.Message) (field string) {
	m := findMessage(request.ProtoReflect(), hasUnknown)
	if m == nil {
		return ""
	}
	number, _, _ := protowire.ConsumeTag(m.GetUnknown())
	return fmt.Sprintf("field %d of %s", number, m.Descriptor().FullName())
}

func hasUnknown(m protoreflect.Message) bool { return len(m.GetUnknown()) > 0 }

// findMessage returns the first message, m or one within it, that is looked for; nil if there is none.
func findMessage(m protoreflect.Message, sought func(protoreflect.Message) bool) protoreflect.Message {
	if sought(m) {
		return m
	}
	for _, field := range messageFields(m.Descriptor()) {
		if !m.Has(field) {
			continue
		}
		var found protoreflect.Message
		switch value := m.Get(field); {
		case field.IsMap():
			found = findInMap(value.Map(), sought)
		case field.IsList():
			list := value.List()
			for i := 0; found == nil && i < list.Len(); i++ {
				found = findMessage(list.Get(i).Message(), sought)
			}
		default:
			found = findMessage(value.Message(), sought)
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// findInMap is apart, since its closure is allocated.
func findInMap(entries protoreflect.Map, sought func(protoreflect.Message) bool) (found protoreflect.Message) {
	entries.Range(func(_ protoreflect.MapKey, entry protoreflect.Value) bool {
		found = findMessage(entry.Message(), sought)
		return found == nil
	})
	return found
}

// messageFieldsOf caches, by message type, the fields that hold messages: only they need to be looked at in each request.
var messageFieldsOf sync.Map // protoreflect.MessageDescriptor to []protoreflect.FieldDescriptor

func messageFields(of protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	if known, ok := messageFieldsOf.Load(of); ok {
		return known.([]protoreflect.FieldDescriptor)
	}
	fields := []protoreflect.FieldDescriptor{}
	all := of.Fields()
	for i := range all.Len() {
		field := all.Get(i)
		holds := field.Message() != nil
		if field.IsMap() {
			holds = field.MapValue().Message() != nil
		}
		if holds {
			fields = append(fields, field)
		}
	}
	messageFieldsOf.Store(of, fields)
	return fields
}
