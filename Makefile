# What there is to do here. Only Go is needed; tests that need more say so.

GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
PLATFORMS   := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: build demo test bench soak lint vuln libfido2 cross release clean

# build makes bin/tsh and bin/devcluster, stripped; the version is what the
# build records of the checkout.
build:
	$(GO) run ./internal/build

# demo shows the main job from nothing: a cluster, a login, a server.
demo:
	$(GO) run ./internal/demo

# test runs everything, in some minutes; what a plain machine cannot run is listed as
# skipped. "go test ./..." leaves the second ring out, what is slow by nature, and takes a
# minute and a half.
test:
	TSH_TEST_ALL=1 $(GO) run ./internal/testrun ./...

# bench prints times and their ratios to other programs, in one run.
bench:
	$(GO) run ./internal/bench
	$(GO) test -run='^$$' -bench=. ./profile/ ./credentials/ ./internal/devcluster/

# soak is what takes too long for a test: 10,000 processes killed at random moments,
# and a minute of 32 tsh at once in one directory. What it showed is in docs/reliability.md.
soak:
	$(GO) run ./internal/soak

lint:
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  if [ -n "$$unformatted" ]; then echo "gofmt these files:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff

# vuln asks the Go vulnerability database what is known of the code that is linked. Where
# it cannot be reached, that is said, and is an error with VULN_REQUIRED=1.
vuln:
	$(GO) run ./internal/vuln

# libfido2 checks and builds the tsh that speaks with security keys itself; it
# needs a C compiler, pkg-config and libfido2-dev.
libfido2:
	CGO_ENABLED=1 $(GO) vet -tags libfido2 ./...
	CGO_ENABLED=1 $(GO) test -tags libfido2 ./internal/fido2
	CGO_ENABLED=1 $(GO) build -tags libfido2 -o bin/libfido2/tsh ./cmd/tsh

# cross compiles everything, tests included, for all platforms.
cross:
	@set -e; for p in $(PLATFORMS); do \
	  echo "cross $$p"; \
	  CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./...; \
	  CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/tsh; \
	  CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/devcluster; \
	done

# release builds tsh for all platforms into dist/, with the sums of what it has built, and
# signs these where KEY names a key for ssh-keygen. See docs/release.md.
release:
	@rm -rf dist && $(GO) build -o dist/build ./internal/build
	@set -e; for p in $(PLATFORMS); do \
	  echo "release $$p"; \
	  GOOS=$${p%/*} GOARCH=$${p#*/} dist/build -o dist/$${p%/*}-$${p#*/} ./cmd/tsh; \
	done
	@rm dist/build && cd dist && sha256sum */* >SHA256SUMS && cat SHA256SUMS
	@if [ -n "$(KEY)" ]; then ssh-keygen -Y sign -f "$(KEY)" -n tsh-release dist/SHA256SUMS; fi

clean:
	rm -rf bin dist
