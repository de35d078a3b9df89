# The tasks of this repository. make alone lists them.

.DEFAULT_GOAL := help
PACKAGES ?=
TARGET ?= FuzzTokenResponse
PACKAGE ?= ./core
FOR ?= 1m
PARTS ?=

.PHONY: help
help: ## list the tasks
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-12s %s\n", $$1, $$2}'

.PHONY: test
test: ## the tests of a minute or two; servers that are not installed are skipped
	go test ./...

.PHONY: test-all
test-all: ## every test, the long ones too; a missing server fails
	MXM_TEST_ALL=1 go test ./... -timeout 30m

.PHONY: ci
ci: ## what CI runs: about 25 minutes, as root it installs the servers
	.ci/run

.PHONY: proof
proof: ## what is too long for CI, by hand; PARTS="simulation newest" runs some
	.ci/proof $(PARTS)

.PHONY: newest
newest: ## test with the newest version of every dependency
	.ci/newest

.PHONY: compare
compare: ## measure against other libraries, and write docs/measured.md
	cd internal/compare && go run . -write ../../docs/measured.md

.PHONY: api
api: ## compare the public API with the exports in internal/api
	.ci/api

.PHONY: api-write
api-write: ## replace exports on purpose: PACKAGES="core ginmw"
	.ci/api write $(PACKAGES)

.PHONY: fuzz
fuzz: ## fuzz one target: PACKAGE=./core TARGET=FuzzTokenResponse FOR=10m
	go test $(PACKAGE) -run '^$$' -fuzz '^$(TARGET)$$' -fuzztime $(FOR)

.PHONY: lint
lint: ## go vet and golangci-lint, with .golangci.yml
	go vet ./...
	golangci-lint run

.PHONY: browser
browser: ## drive the examples with Chromium and Firefox
	cd internal/browsertest && go test ./...
