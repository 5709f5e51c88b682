.DEFAULT_GOAL := help
TOOLS := -modfile=internal/devtools/tools/go.mod
# What takes many minutes, and make ops-test runs.
DRILLS := ^(TestOurDatabaseIsLost|TestRollingRestart)$$
# Packages of which make test runs every test with the race detector, and tests of three others that are large: where goroutines of one
# process share memory. Elsewhere it is processes and databases that meet.
SHARING := contents|dialer|freshness|herokuapi|httpserver|keyring|notify|objectstore|operator|partnerapi|pgdump|pipeline|placement|redact|sandbox|schedule|scratchpg|seal|websession
SHARED := ^Test(CancelAndStop|FailingStore|KilledDumps|DroppedConnection|OneRefresh|TwoDeleters|AStoppedProof|APlace|ASeat|Runs|Slots|WhatIsRead|ADumpGivesWay|ABackupIsProven|ACopyThatStandsStill|ABackupIsReadFromItsCopy|News|ASlowAnswer|Recoded|MutatedArchives|Offsets|HandlersStop|ScriptIsWritten)

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z\/0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup/demo bin/s3dev bin/remora-demo ## the whole service on this machine, and the main job; ARGS=--once ends after it, ARGS=--help tells more
	@exec bin/remora-demo $(ARGS)

.PHONY: test
test: setup/test bin/s3dev bin/remora-demo ## all tests, on a real Postgres, a real S3 server and the real Heroku CLI; with the race detector where goroutines share memory
	go test -timeout 40m -p 3 -parallel 4 -skip '$(DRILLS)' $$(go list ./... | grep -vE '/internal/($(SHARING))$$')
	go test -race -timeout 40m $$(go list ./internal/... | grep -E '/internal/($(SHARING))$$')
	go test -race -timeout 40m -run '$(SHARED)' ./internal/jobworkers ./internal/pgarchive ./internal/wiring

.PHONY: race
race: setup/test bin/s3dev bin/remora-demo ## all tests with the race detector, which takes three times as long
	go test -race -timeout 90m -skip '$(DRILLS)' ./...

.PHONY: ops-test
ops-test: setup/ops bin/s3dev bin/remora-demo bin/dockerfile ## what operators and customers are given: manifest, rules and runbooks, commands and links of the pages; the Dockerfile, checked, and its steps run in chroots (root, Debian); an alert that fires when workers are stopped; our database lost and rebuilt; webs and workers replaced under load; this release and the one before it on each other's schema (PREVIOUS=revision or folder); and from a clone to a restored copy by the pages alone (root)
	@before=$$(internal/devtools/previous.sh bin/previous $(PREVIOUS)) && test -n "$$before" && \
		go test -count=1 -timeout 30m ./internal/devtools/opstest -prometheus "$${XDG_CACHE_HOME:-$$HOME/.cache}/remora/prometheus" -previous "$$before"
	go test -count=1 -v -timeout 20m ./internal/devtools/image -dockerfile $(CURDIR)/bin/dockerfile
	go test -count=1 -run 'Manifest|Portal' ./internal/partnerapi
	go test -count=1 -run Checkup ./internal/wiring
	go test -count=1 -timeout 30m -run '$(DRILLS)' ./cmd/remora-demo
	go test -count=1 -timeout 30m ./internal/devtools/firstrun -first-run

.PHONY: screenshots
screenshots: setup/test ## a picture of every page in its states, light, dark and on a telephone, into .screenshots, and how long the heaviest take
	@mkdir -p .screenshots
	go test -count=1 -run 'TestPages$$' -bench 'Pages$$' -benchtime 20x ./internal/dashboard -screenshots $(CURDIR)/.screenshots
	go test -count=1 -run 'TestPages$$' ./internal/operator -screenshots $(CURDIR)/.screenshots

.PHONY: majors
majors: setup/test ## archives of PostgreSQL 13, 17 and 18 beside the installed one, each read and restored by the others' programs, and proven (Debian)
	@dirs=$$(internal/devtools/majors.sh /var/tmp/remora-majors bullseye:13 trixie:17 sid:18 | tr '\n' ' ') && \
		go test -count=1 -v -run "TestEveryKindOfObject|TestScriptComparesLargeObjects" ./internal/pgarchive -majors "$$dirs" && \
		go test -count=1 -v -run TestMajors ./internal/proof -majors "$$dirs"

.PHONY: memory
memory: setup/demo bin/s3dev bin/remora-demo ## the worker's peak memory for archives of 100 MB and 1 GB; MB=1000 for 1 and 10 GB (takes 30 GB of disk)
	LOCALPG_ON_DISK=1 go test -count=1 -v -timeout 60m -run TestMemory ./cmd/remora-demo -memory-mb $(or $(MB),100)

.PHONY: bench
bench: setup/bench bin/s3dev bin/sdkupload bin/remora-demo bin/bench ## a backup measured beside other ways to make one; OUT=file.json, ARGS=-h tells more
	@exec bin/bench $(if $(OUT),-out $(OUT)) $(ARGS)

.PHONY: simulate
simulate: setup/demo bin/simulate ## a year of schedules with every accident, ten thousand due at one instant, a round of retention; FULL=1 for 400 days of 10,000, ONLY=years|herd|keep for one
	@exec bin/simulate $(if $(FULL),-full) $(if $(ONLY),-only $(ONLY))

.PHONY: load
load: setup/demo bin/s3dev bin/remora-demo bin/load ## what backups cost our Postgres and how many it bears: 10,000 by a fake dumper, 200 real tiny ones, by 1, 2 and 4 processes; OUT=file.jsonl, FULL=1 for all of each, ARGS=-h tells more
	@exec bin/load $(if $(OUT),-out $(OUT)) $(if $(FULL),-full) $(ARGS)

.PHONY: soak
soak: setup/demo bin/s3dev bin/remora-demo bin/soak ## kill -9 at random moments for SECONDS (600), and what was promised looked at; SEED=N repeats the moments
	@exec bin/soak -seconds $(or $(SECONDS),600) $(if $(SEED),-seed $(SEED))

.PHONY: check
check: ## format, vet, linter, generated code and modules up to date; a little random input for the parsers
	@internal/devtools/setup.sh check
	@out=$$(gofmt -l cmd internal migrations); if [ -n "$$out" ]; then echo "not formatted (make fmt): $$out"; exit 1; fi
	go vet ./...
	go mod tidy -diff
	go mod verify
	go tool $(TOOLS) golangci-lint run
	cd internal/postgres && go tool -modfile=../devtools/tools/go.mod sqlc diff
	internal/devtools/fuzz.sh

.PHONY: fuzz
fuzz: ## random input for every parser of what others write, SECONDS each (30)
	internal/devtools/fuzz.sh $(or $(SECONDS),30)

.PHONY: fmt
fmt: ## format the code
	go tool $(TOOLS) golangci-lint fmt

.PHONY: generate
generate: ## make the query code again from internal/postgres/queries
	cd internal/postgres && go tool -modfile=../devtools/tools/go.mod sqlc generate

.PHONY: vulncheck
vulncheck: ## known vulnerabilities in what we use (needs the Go vulnerability database)
	go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

.PHONY: build
build: bin/remora ## the product's one program

.PHONY: setup/demo setup/test setup/bench setup/ops
setup/demo setup/test setup/bench setup/ops:
	@internal/devtools/setup.sh $(@F)

.PHONY: bin/s3dev bin/sdkupload bin/dockerfile bin/remora bin/remora-demo bin/bench bin/simulate bin/soak bin/load
bin/s3dev:
	@go build -C internal/devtools/s3dev -o ../../../bin/s3dev .
bin/remora:
	@go build -o bin/remora ./cmd/remora
bin/sdkupload:
	@go build -C internal/devtools/sdkupload -o ../../../bin/sdkupload .
bin/bench:
	@go build -o bin/bench ./internal/devtools/bench
bin/dockerfile:
	@go build -C internal/devtools/dockerfile -o ../../../bin/dockerfile .
bin/simulate:
	@go build -o bin/simulate ./internal/devtools/simulate
bin/load:
	@go build -o bin/load ./internal/devtools/load
bin/soak:
	@go build -o bin/soak ./internal/devtools/soak
bin/remora-demo:
	@go build -o bin/remora-demo ./cmd/remora-demo

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
