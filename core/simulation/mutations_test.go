package simulation_test

// mutations is every rule of the protocol that can be left out by a change of a
// few lines, with the invariant that then breaks.
var mutations = []mutation{
	{
		name:    "no intent",
		edits:   []edit{{"spend.go", "\tout, err := f.write(next)\n\tf.k.doubt.wrote", "\tout, err := writeDone, error(nil)\n\tf.k.doubt.wrote"}},
		profile: "faultfree", seed: 1, breaks: "I1 I2 I6",
	},
	{
		name: "the request's context",
		edits: []edit{
			{"flight.go", "r.launch(k, rejected)", "r.launch(ctx, k, rejected)"},
			{"flight.go", "launch(k *keeper", "launch(ctx context.Context, k *keeper"},
			{"flight.go", "ctx: context.Background()", "ctx: ctx"},
		},
		profile: "slow", seed: 1, breaks: "I3 I5",
	},
	{
		name:    "a flight for each caller",
		edits:   []edit{{"flight.go", "f := k.flight\n", "var f *flight\n"}},
		profile: "slow", seed: 1, breaks: "I1 I2 I6",
	},
	{
		name:    "retry blindly",
		edits:   []edit{{"spend.go", "\t\tf.failed(reasonUpstream, err, began)\n\t}\n\treturn f.inDoubt", "\t\tf.failed(reasonUpstream, err, began)\n\t}\n\treturn f.announce"}},
		profile: "loss", seed: 11, breaks: "I1 I2",
	},
	{
		name:    "judge before saving",
		edits:   []edit{{"keep.go", "if t.Refresh == \"\" && (t.Access == \"\" || !t.Whole) {", "if t.Defect != nil {"}},
		profile: "loss", seed: 4, breaks: "I1 I2 I3",
	},
	{
		name:    "one write of the new tokens",
		edits:   []edit{{"keep.go", "\t\t\ttime.Sleep(f.r.backoff(n))\n\t\t\tcontinue // if", "\t\t\tf.holding = false\n\t\t\treturn f.land(result{err: unavailable(err)}) // if"}},
		profile: "store", seed: 1, breaks: "I1 I2 I3",
	},
	{
		name:    "fencing by the lease",
		edits:   []edit{{"keep.go", "\treturn claimOver\n}", "\treturn claimDrop\n}"}},
		profile: "pause", seed: 19, breaks: "I1 I2 I3",
	},
	{
		name: "V1 a clock of ours compared across machines",
		edits: []edit{
			{"spend.go", "Started: began, ", "Started: began.Add(-time.Hour), "}, // the writer's clock is behind
			{"refresh.go", "if f.k.watch.foreign(f.gr.Intent.ID) < f.r.lease {", "if f.k.watch.foreign(f.gr.Intent.ID) < f.r.lease && time.Since(f.gr.Intent.Started) < f.r.lease+5*time.Minute {"},
		},
		profile: "hopeless", seed: 523, breaks: "I1 I2",
	},
	{
		name:    "V2 gen restarts at a login",
		edits:   []edit{{"storelogin.go", "gr.Gen = max(old.Gen+1, a.refresher.remembered(gr.Sub).Gen+1, gr.Issued.UnixMilli())", "gr.Gen = 1"}},
		profile: "churn", seed: 1, breaks: "I4",
	},
	{
		name: "V3 versions that restart with the record",
		edits: []edit{
			{"record.go", "Version: randomString()}", "Version: nextVersion(old)}"},
			{"record.go", "// randomString returns", "func nextVersion(old string) string { return old + \"+\" }\n\n// randomString returns"},
			{"storelogin.go", "err = a.commitSurely(ctx, version, tombstone)", "_ = version\n\t\terr = a.grants.store.DeleteGrant(ctx, a.grants.key(sub))"},
		},
		profile: "pausechurn", seed: 19, breaks: "I4",
	},
	{
		name: "V4 a missing record is repaired",
		edits: []edit{
			{"lost.go", "\t\tf.gr, f.version = *memory, \"\"\n", "\t\tf.gr, f.version = *memory, \"\"\n\t\treturn f.repair(*memory)\n"},
			{"storelogin.go", "err = a.commitSurely(ctx, version, tombstone)", "_ = version\n\t\terr = a.grants.store.DeleteGrant(ctx, a.grants.key(sub))"},
		},
		profile: "churn", seed: 12, breaks: "I4",
	},
	{
		name: "V5 one intent for several attempts",
		edits: []edit{{"spend.go", "\town := f.k.doubt.add(in, f.gr.Intent, f.taker)",
			"\tif o := f.k.doubt.of(f.gr.Intent); o != nil && o.sent && o.attempt > 1 {\n\t\tin.ID = f.gr.Intent.ID\n\t}\n\town := f.k.doubt.add(in, f.gr.Intent, f.taker)"}},
		profile: "hopeless", seed: 1053, breaks: "I1 I2",
	},
	{
		name: "V6 no compare-and-swap before a replay",
		edits: []edit{{"doubt.go", "\tcase v == active: // not consumed\n\t\treturn f.announce",
			"\tcase v == active: // not consumed\n\t\tf.r.posts <- struct{}{}\n\t\treturn f.spend(f.k.doubt.add(f.gr.Intent, f.gr.Intent, f.taker), time.Now())"}},
		profile: "hopeless", seed: 202, breaks: "I1 I2",
	},
	{
		name:    "V7 the budget begins with the answer of the store",
		edits:   []edit{{"spend.go", "\tf.k.doubt.wrote = time.Now()\n\tswitch out {", "\tf.k.doubt.wrote = time.Now()\n\tbegan = time.Now()\n\tswitch out {"}},
		profile: "pause", seed: 11, breaks: "I1 I2",
	},
	{
		name:    "V8 natural expiry by a clock of ours",
		edits:   []edit{{"oracle.go", "!in.Dated || !in.Date.Before(", "!time.Now().Before("}},
		profile: "lossychurn", seed: 29, breaks: "I3",
	},
	{
		name:    "V9 one inactive is enough",
		edits:   []edit{{"doubt.go", "\t\tcase last: // two", "\t\tcase inactive:\n\t\t\treturn f.decide(v)\n\t\tcase last: // two"}},
		profile: "liar", seed: 384, breaks: "I3",
	},
	{
		name: "V10a the holder waits for a taker",
		edits: []edit{{"keep.go", "claim == claimAsk {\n", "claim == claimOver && found && f.gr.Intent != nil && f.gr.Gen == old.Gen {\n" +
			"\t\t\t\ttime.Sleep(5 * time.Second)\n\t\t\t\tclaim = claimReread\n\t\t\t} else if claim == claimAsk {\n"}},
		profile: "stall", seed: 215, breaks: "I1 I2",
	},
	{
		name:    "V10b new tokens dropped for a mark",
		edits:   []edit{{"keep.go", "\tcase stored.Gen > old:", "\tcase stored.Status == grantReconnect:\n\t\treturn claimAsk\n\tcase stored.Gen > old:"}},
		profile: "pause", seed: 141, breaks: "I3",
	},
	{
		name:    "V10c dead tokens written over live ones",
		edits:   []edit{{"keep.go", "\tcase stored.Gen > old: // a taker's replay succeeded, and so did our refresh\n\t\treturn claimAsk", "\tcase stored.Gen > old:\n\t\treturn claimOver"}},
		profile: "pausegrace", seed: 73, breaks: "I1 I2 I3",
	},
	{
		name: "V11 a replay without silence before it",
		edits: []edit{
			{"doubt.go", "for wait := f.r.settle; ; wait", "for wait := time.Duration(0); ; wait"},
			{"doubt.go", "due := f.k.doubt.wrote.Add(f.r.lease)", "due := time.Now()"},
		},
		profile: "loss", seed: 81, breaks: "I1 I2",
	},
	{
		name:    "V12 the third attempt is terminal",
		edits:   []edit{{"doubt.go", "return f.startOver", "return f.lost(reasonLostResponse)"}},
		profile: "hopeless", seed: 30, breaks: "I3",
	},
	{
		name: "V12 one blind replay only",
		edits: []edit{{"doubt.go", "\tdue := f.k.doubt.wrote.Add(f.r.lease)",
			"\tif f.gr.Intent.Attempt > 2 {\n\t\treturn f.land(result{err: unavailable(errInDoubt)})\n\t}\n\tdue := f.k.doubt.wrote.Add(f.r.lease)"}},
		profile: "hopeless", seed: 1, breaks: "I5",
	},
	{
		name:    "V13 waiting for an intent of one's own",
		edits:   []edit{{"refresh.go", "\tcase !own.sent && own.attempt == 1:\n\t\tf.taker = false\n\t\treturn f.announce", "\tcase !own.sent && own.attempt == 1:\n\t\treturn f.land(result{err: unavailable(errForeign)})"}},
		profile: "store", seed: 163, breaks: "I5",
	},
	{
		name: "V13 an intent is known by its owner's name",
		edits: []edit{{"refresh.go", "\town := f.k.doubt.of(f.gr.Intent)\n\tswitch {\n\tcase f.gr.Intent == nil && f.k",
			"\town := f.k.doubt.of(f.gr.Intent)\n\tif own == nil && f.gr.Intent != nil && f.gr.Intent.Owner == f.r.owner {\n\t\town = &ownIntent{attempt: f.gr.Intent.Attempt}\n\t}\n\tswitch {\n\tcase f.gr.Intent == nil && f.k"}},
		profile: "slow", seed: 1, breaks: "I1 I2 I6",
	},
	{
		name: "V14 a watch that ends with its flight",
		edits: []edit{
			{"flight.go", "\t\tf.landed, f.result = true, res\n", "\t\tf.landed, f.result = true, res\n\t\tf.k.watch.id = \"\"\n"},
			{"refresh.go", "\tif !f.pause(min(poll, f.r.lease-watched)) {", "\tif !f.pause(min(poll, f.r.lease-watched)) || !f.wanted() {"},
		},
		profile: "crash", seed: 33, breaks: "I5",
	},
	{
		name:    "V15 status before gen",
		edits:   []edit{{"refresh.go", "\tcase found && memory != nil && memory.Gen > f.gr.Gen:", "\tcase found && f.gr.Status == grantReconnect:\n\t\treturn f.reconnect(errLost)\n\tcase found && memory != nil && memory.Gen > f.gr.Gen:"}},
		profile: "regression", seed: 600, breaks: "I3 I5",
	},
	{
		name:    "V16 a holder does not replay",
		edits:   []edit{{"doubt.go", "case !f.taker && !f.k.doubt.replayed:", "case false:"}},
		profile: "grace", seed: 3, breaks: "I3",
	},
	{
		name:    "a taker replays",
		edits:   []edit{{"doubt.go", "case !f.taker && !f.k.doubt.replayed:", "case !f.k.doubt.replayed:"}},
		profile: "pause", seed: 19, breaks: "I1 I2",
	},
	{
		name:    "a store that lost a write is believed",
		edits:   []edit{{"refresh.go", "\t\treturn f.repair(*memory)\n", "\t\tf.k.mu.Lock()\n\t\tf.k.memory = nil\n\t\tf.k.mu.Unlock()\n\t\treturn f.find\n"}},
		profile: "regression", seed: 91, breaks: "I3",
	},
	{
		name:    "new tokens over a tombstone",
		edits:   []edit{{"keep.go", "stored.Status == grantDisconnected, stored.GrantID", "stored.GrantID"}},
		profile: "churn", seed: 132, breaks: "I4",
	},
	{
		name:    "new tokens over another login",
		edits:   []edit{{"keep.go", "stored.Status == grantDisconnected, stored.GrantID != mine.GrantID:", "stored.Status == grantDisconnected:"}},
		profile: "churn", seed: 270, breaks: "I4",
	},
	{
		name:    "a wrong secret ends grants",
		edits:   []edit{{"spend.go", "\t\tf.failed(reasonInvalidClient, err, began)\n\t\treturn f.unspent(own, err)", "\t\treturn f.refused(own, err, began)"}},
		profile: "loss", seed: 2, breaks: "I3",
	},
	{
		name:    "a 503 ends grants",
		edits:   []edit{{"spend.go", "case call.Status == 0 || call.Status == 429 || call.Status >= 500:", "case call.Status == 503:\n\t\treturn f.refused(own, err, began)\n\tcase call.Status == 0 || call.Status == 429 || call.Status >= 500:"}},
		profile: "loss", seed: 3, breaks: "I3",
	},
	{
		name:    "a 401 refreshes without a comparison",
		edits:   []edit{{"refresh.go", "if f.gr.Access == \"\" || f.gr.Access == f.rejected ||", "if f.gr.Access == \"\" || f.rejected != \"\" ||"}},
		profile: "faultfree", seed: 11, breaks: "I6",
	},
	{
		name:    "a grant that does not rotate",
		edits:   []edit{{"oracle.go", "!gr.Dated, gr.Unrotated, ", "!gr.Dated, "}},
		profile: "loss", seed: 130, breaks: "I3",
	},
	{
		name:    "a loss reported twice",
		edits:   []edit{{"keep.go", "\tf.emit(Event{Kind: EventReconnect, Reason: mark.Reason, Err: cause})\n", "\tf.emit(Event{Kind: EventReconnect, Reason: mark.Reason, Err: cause})\n\tf.emit(Event{Kind: EventReconnect, Reason: mark.Reason, Err: cause})\n"}},
		profile: "loss", seed: 1, breaks: "I8",
	},
	{
		name:    "callers wait for ever",
		edits:   []edit{{"flight.go", "context.WithTimeoutCause(ctx, patience, errPatience)", "context.WithCancel(ctx)"}},
		profile: "loss", seed: 1, breaks: "I5",
	},
	{
		name:    "a flight that Close does not end",
		edits:   []edit{{"flight.go", "\tcase <-t.C:\n\t\treturn true\n\tcase <-f.r.closing:", "\tcase <-t.C:\n\t\treturn true\n\tcase <-make(chan struct{}):"}},
		profile: "deploy", seed: 14, breaks: "I8",
	},
	{
		name:    "a disconnect that writes nothing over a tombstone",
		edits:   []edit{{"storelogin.go", "\tcase again && gr.Status == grantDisconnected:", "\tcase gr.Status == grantDisconnected:"}},
		profile: "store", seed: 246, breaks: "I4",
	},
	{
		name:    "a guessed end of an access token is believed",
		edits:   []edit{{"endpoint.go", "a.dated && t.Dated", "a.dated"}},
		profile: "lossychurn", seed: 817, breaks: "I3",
	},
	{
		name:    "one look at whose tokens live",
		edits:   []edit{{"keep.go", "case in.Active && last == active:", "case in.Active:"}},
		profile: "store", seed: 443, breaks: "I3",
	},
}
