# What CI runs, in pieces. Nothing here is needed to build: `go build ./...` and `go test ./...` are enough.

GOLANGCI = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GEN_GO   = google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GEN_GRPC = google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
MODULE   = github.com/profilenode/profilenode

# Where goroutines meet, and the two that must not have any. The race detector makes everything about five times slower.
RACE = ./lock/... ./fsm/... ./gossip/... ./client/... ./internal/server/... \
	./cluster/internal/liveness ./cluster/internal/commandqueue ./cluster/internal/peerwire ./cluster/internal/snapshot

.PHONY: build image test mutations race soak lint proto cover bench

build:
	go build -o bin/ ./cmd/...

# The container image profilenode:latest, with the version that git says; another tag: deploy/image/build TAG.
image:
	deploy/image/build

test:
	go test ./...

# Every mutation is built and must be caught: about 12 minutes on two cores.
mutations:
	go test ./internal/mutation -mutations -v -timeout 60m

race:
	go test -race $(RACE)

# Chaos tests for hours, as root: a mixture of faults for ten minutes each, another one with each seed.
soak:
	go run ./scripts/jepsen --time 10m $$(for i in $$(seq 12); do echo play/mixed; done)

# Built from source at the pinned version, about a minute the first time.
lint:
	go run $(GOLANGCI) run ./...

# protoc is 3.21.12, Debian's protobuf-compiler.
proto: export PATH := $(CURDIR)/bin:$(PATH)
proto:
	GOBIN=$(CURDIR)/bin go install $(GEN_GO)
	GOBIN=$(CURDIR)/bin go install $(GEN_GRPC)
	protoc --go_out=. --go_opt=module=$(MODULE) --go-grpc_out=. --go-grpc_opt=module=$(MODULE) api/profilev1/profile.proto
	protoc --go_out=. --go_opt=module=$(MODULE) fsm/logpb/log.proto

cover:
	go test -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -n 1

bench:
	go test -run '^$$' -bench . ./...
