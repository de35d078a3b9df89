package simulation_test

// mutations is every rule of the protocol that can be left out by a change of a
// few lines, with the invariant that then breaks.
var mutations = []mutation{
	{
		name:    "no intent",
		edits:   []edit{{"out, err = f.write(next)\n\tf.e.attempts.wrote", "out, err = writeDone, nil\n\tf.e.attempts.wrote"}},
		profile: "faultfree", seed: 1, breaks: "I1 I2 I6",
	},
	{
		name: "the request's context",
		edits: []edit{
			{"f = m.launch(e, rejected, errand{}); f == nil {", "f = m.launch(e, rejected, errand{}); f != nil {\n\t\t\t\tf.ctx = ctx\n\t\t\t} else {"},
		},
		profile: "slow", seed: 1, breaks: "I3 I5",
	},
	{
		name:    "a flight for each caller",
		edits:   []edit{{"f := e.flight\n\t\tif f == nil {\n\t\t\tif f = m.launch", "var f *flight\n\t\tif f == nil {\n\t\t\tif f = m.launch"}},
		profile: "slow", seed: 1, breaks: "I1 I2 I6",
	},
	{
		name: "retry blindly",
		edits: []edit{
			{"f.failed(ReasonUpstream, a.Err, took)\n\t}\n\treturn f.resolve", "f.failed(ReasonUpstream, a.Err, took)\n\t}\n\treturn f.announce"},
			{"return giveUp(f.resolve)", "return giveUp(f.announce)"},
		},
		profile: "loss", seed: 61, breaks: "I1 I2",
	},
	{
		name:    "judge before saving",
		edits:   []edit{{"if t.Refresh == \"\" && (t.Access == \"\" || !t.Complete) {", "if t.Defect != nil {"}},
		profile: "loss", seed: 1, breaks: "I1 I2 I3",
	},
	{
		name:    "one write of the new tokens",
		edits:   []edit{{"\t\t\ttime.Sleep(f.m.backoff(n))\n\t\t\tcontinue // if", "\t\t\treturn f.land(result{err: unavailable(err)}) // if"}},
		profile: "store", seed: 1, breaks: "I1 I2 I3",
	},
	{
		name:    "fencing by the lease",
		edits:   []edit{{"\treturn overwrite\n}", "\treturn drop\n}"}},
		profile: "pause", seed: 49, breaks: "I1 I2 I3",
	},
	{
		name: "V1 a clock of ours compared across machines",
		edits: []edit{
			{"Lease: f.m.intentLease, Started: time.Now(), ", "Lease: f.m.intentLease, Started: time.Now().Add(-time.Hour), "}, // the writer's clock is behind
			{"if f.e.watch.foreign(f.gr.Intent.ID, f.m.now()) < f.m.leaseOf(f.gr.Intent) {", "if f.e.watch.foreign(f.gr.Intent.ID, f.m.now()) < f.m.leaseOf(f.gr.Intent) && f.gr.Intent.young(f.m.intentLease) {"},
			{"const maxAttempts = 3", "const maxAttempts = 3\n\nfunc (in *intent) young(age time.Duration) bool { return time.Since(in.Started) < age+5*time.Minute }"},
		},
		profile: "hopeless", seed: 828, breaks: "I1 I2",
	},
	{
		name:    "V2 gen restarts at a login",
		edits:   []edit{{"gr.Generation = max(old.Generation+1, remembered.Generation+1, date.UnixMilli())", "gr.Generation = 1"}},
		profile: "churn", seed: 1, breaks: "I4",
	},
	{
		name: "V3 versions that restart with the record",
		edits: []edit{
			{"g.keys.Seal(grantPurpose, key, plain), Version: seal.RandomString()}", "g.keys.Seal(grantPurpose, key, plain), Version: old + \"+\"}"},
			{"rec.Expiry = time.Now().Add(tombstoneLife)", "rec.Expiry = time.Now()"}, // the row is gone at once
		},
		profile: "pausechurn", seed: 19, breaks: "I4",
	},
	{
		name: "V4 a missing record is repaired",
		edits: []edit{
			{"f.gr, f.version = *memory, \"\"\n", "f.gr, f.version = *memory, \"\"\n\t\treturn f.repair(*memory)\n"},
			{"rec.Expiry = time.Now().Add(tombstoneLife)", "rec.Expiry = time.Now()"},
		},
		profile: "churn", seed: 12, breaks: "I4",
	},
	{
		name: "V5 one intent for several attempts",
		edits: []edit{{"own = f.e.attempts.add(in, f.gr.Intent, f.tookOver)",
			"if o := f.e.attempts.of(f.gr.Intent); o != nil && o.sent && o.attempt > 1 {\n\t\tin.ID = f.gr.Intent.ID\n\t}\n\town = f.e.attempts.add(in, f.gr.Intent, f.tookOver)"}},
		profile: "hopeless", seed: 978, breaks: "I1 I2",
	},
	{
		name: "V6 no compare-and-swap before a replay",
		edits: []edit{{"case v == active: // not consumed\n\t\treturn f.announce",
			"case v == active: // not consumed\n\t\tconn, err := f.connect()\n\t\tif err != nil {\n\t\t\treturn f.notConnected(err)\n\t\t}\n\t\tf.acquire()\n\t\treturn f.post(conn, f.e.attempts.add(f.gr.Intent, f.gr.Intent, f.tookOver), f.m.clock.Now())"}},
		profile: "hopeless", seed: 2064, breaks: "I1 I2",
	},
	{
		name:    "V7 the budget begins with the answer of the store",
		edits:   []edit{{"own, out, err := f.writeIntent(f.attempt())\n", "own, out, err := f.writeIntent(f.attempt())\n\tbegan = f.m.clock.Now()\n"}},
		profile: "pause", seed: 18, breaks: "I1 I2",
	},
	{
		name:    "V8 natural expiry by a clock of ours",
		edits:   []edit{{"!in.Dated || !in.Date.Before(", "!time.Now().Before("}},
		profile: "lossychurn", seed: 36, breaks: "I3",
	},
	{
		name:    "V9 one inactive is enough",
		edits:   []edit{{"case last: // two", "case inactive:\n\t\t\treturn f.decide(v)\n\t\tcase last: // two"}},
		profile: "liar", seed: 138, breaks: "I3",
	},
	{
		name: "V10a the holder waits for a taker",
		edits: []edit{{"if what == askServer {\n", "if what == overwrite && found && f.gr.Intent != nil && f.gr.Generation == old.Generation {\n" +
			"\t\t\ttime.Sleep(5 * time.Second)\n\t\t\twhat = readAgain\n\t\t}\n\t\tif what == askServer {\n"}},
		profile: "stall", seed: 49, breaks: "I1 I2",
	},
	{
		name:    "V10b new tokens dropped for a mark",
		edits:   []edit{{"case stored.Generation > old:", "case stored.Status == statusReconnect:\n\t\treturn askServer\n\tcase stored.Generation > old:"}},
		profile: "pause", seed: 49, breaks: "I3",
	},
	{
		name:    "V10c dead tokens written over live ones",
		edits:   []edit{{"\t\treturn askServer\n", "\t\treturn overwrite\n"}},
		profile: "pausegrace", seed: 74, breaks: "I1 I2 I3",
	},
	{
		name: "V11 a replay without silence before it",
		edits: []edit{
			{"wait := apart\n", "wait := time.Duration(0)\n"},
			{"due := f.e.attempts.wrote + max(lease, min(lease<<min(attempt-f.inTheDark, 10), longestPause))", "due := f.m.now()"},
		},
		profile: "loss", seed: 61, breaks: "I1 I2",
	},
	{
		name:    "V12 the third attempt is terminal",
		edits:   []edit{{"return f.startOver", "return f.markLost(ReasonLostResponse)"}},
		profile: "hopeless", seed: 1241, breaks: "I3",
	},
	{
		name: "V12 one blind replay only",
		edits: []edit{{"due := f.e.attempts.wrote +",
			"if f.gr.Intent.Attempt > 2 {\n\t\treturn f.land(result{err: unavailable(errInDoubt)})\n\t}\n\tdue := f.e.attempts.wrote +"}},
		profile: "hopeless", seed: 1, breaks: "I5",
	},
	{
		name:    "V13 waiting for an intent of one's own",
		edits:   []edit{{"case !own.sent && own.attempt == 1:\n\t\tf.tookOver = false\n\t\treturn f.announce", "case !own.sent && own.attempt == 1:\n\t\treturn f.land(result{err: unavailable(errForeign)})"}},
		profile: "store", seed: 23, breaks: "I5",
	},
	{
		name: "V13 an intent is known by its owner's name",
		edits: []edit{{"own := f.e.attempts.of(f.gr.Intent)\n\tswitch {\n\tcase f.gr.Intent == nil && f.e",
			"own := f.e.attempts.of(f.gr.Intent)\n\tif own == nil && f.gr.Intent != nil && f.gr.Intent.Owner == f.m.owner {\n\t\town = &ownIntent{attempt: f.gr.Intent.Attempt}\n\t}\n\tswitch {\n\tcase f.gr.Intent == nil && f.e"}},
		profile: "slow", seed: 1, breaks: "I1 I2 I6",
	},
	{
		name: "V14 a watch that ends with its flight",
		edits: []edit{
			{"f.landed, f.result = true, res\n", "f.landed, f.result = true, res\n\t\tf.e.watch.id = \"\"\n"},
			{"if !f.hold(min(poll, f.m.leaseOf(in)-watched)) {", "if !f.hold(min(poll, f.m.leaseOf(in)-watched)) || !f.wanted() {"},
		},
		profile: "crash", seed: 11, breaks: "I5",
	},
	{
		name:    "V15 status before gen",
		edits:   []edit{{"case found && memory != nil && memory.Generation > f.gr.Generation:", "case found && f.gr.Status == statusReconnect:\n\t\treturn f.reconnect(errLost)\n\tcase found && memory != nil && memory.Generation > f.gr.Generation:"}},
		profile: "regression", seed: 257, breaks: "I3 I5",
	},
	{
		name:    "V16 a holder does not replay",
		edits:   []edit{{"case !f.tookOver && !f.e.attempts.replayed:", "case false:"}},
		profile: "grace", seed: 3, breaks: "I3",
	},
	{
		name:    "a taker replays",
		edits:   []edit{{"case !f.tookOver && !f.e.attempts.replayed:", "case !f.e.attempts.replayed:"}},
		profile: "pause", seed: 675, breaks: "I1 I2",
	},
	{
		name:    "a store that lost a write is believed",
		edits:   []edit{{"return f.repair(*memory)\n", "f.e.mu.Lock()\n\t\tf.e.memory = nil\n\t\tf.e.mu.Unlock()\n\t\treturn f.find\n"}},
		profile: "regression", seed: 91, breaks: "I3",
	},
	{
		name:    "new tokens over a tombstone",
		edits:   []edit{{"stored.Status == statusDisconnected, stored.GrantID", "stored.GrantID"}},
		profile: "churn", seed: 38, breaks: "I4",
	},
	{
		name:    "new tokens over another login",
		edits:   []edit{{"stored.Status == statusDisconnected, stored.GrantID != mine.GrantID:", "stored.Status == statusDisconnected:"}},
		profile: "churn", seed: 512, breaks: "I4",
	},
	{
		name:    "a wrong secret ends grants",
		edits:   []edit{{"f.failed(ReasonInvalidClient, a.Err, took)\n", "return f.invalidGrant(own, a.Err, took)\n"}},
		profile: "loss", seed: 20, breaks: "I3",
	},
	{
		name:    "a 503 ends grants",
		edits:   []edit{{"case call.Temporary():", "case call.Status == 503:\n\t\treturn f.invalidGrant(own, a.Err, took)\n\tcase call.Temporary():"}},
		profile: "loss", seed: 1, breaks: "I3",
	},
	{
		name:    "a 401 refreshes without a comparison",
		edits:   []edit{{"if f.gr.Access == \"\" || f.gr.Access == f.rejected ||", "if f.gr.Access == \"\" || f.rejected != \"\" ||"}},
		profile: "faultfree", seed: 32, breaks: "I6",
	},
	{
		name:    "a grant that does not rotate",
		edits:   []edit{{"!gr.ExpiryKnown, gr.NotRotated, ", "!gr.ExpiryKnown, "}},
		profile: "loss", seed: 14, breaks: "I3",
	},
	{
		name:    "a loss reported twice",
		edits:   []edit{{"f.tell(Report{Kind: Lost, Reason: mark.Reason, Err: cause})\n", "f.tell(Report{Kind: Lost, Reason: mark.Reason, Err: cause})\n\tf.tell(Report{Kind: Lost, Reason: mark.Reason, Err: cause})\n"}},
		profile: "loss", seed: 3, breaks: "I8",
	},
	{
		name:    "callers wait for ever",
		edits:   []edit{{"ctx, cancel := WithPatience(ctx)\n\tdefer cancel()\n\ttimer", "ctx, cancel := context.WithCancel(ctx)\n\tdefer cancel()\n\ttimer"}},
		profile: "loss", seed: 1, breaks: "I5",
	},
	{
		name:    "a flight that Close does not end",
		edits:   []edit{{"\tcase <-t.C:\n\t\treturn true\n\tcase <-m.live.Done():", "\tcase <-t.C:\n\t\treturn true\n\tcase <-make(chan struct{}):"}},
		profile: "deploy", seed: 8, breaks: "I8",
	},
	{
		name:    "a disconnect that writes nothing over a tombstone",
		edits:   []edit{{"case n > 0 && gr.Status == statusDisconnected:", "case gr.Status == statusDisconnected:"}},
		profile: "store", seed: 246, breaks: "I4",
	},
	{
		name:    "a guessed end of an access token is believed",
		edits:   []edit{{"!gr.ExpiryKnown, gr.NotRotated, ", "gr.NotRotated, "}},
		profile: "lossychurn", seed: 185, breaks: "I3",
	},
	{
		name:    "one look at whose tokens live",
		edits:   []edit{{"case in.Active && last == active:", "case in.Active:"}},
		profile: "pausegrace", seed: 728, breaks: "I3",
	},
	{
		name: "R1 an intent is left alone for one's own lease",
		edits: []edit{
			{"return max(t.intentLease, in.Lease)", "return t.intentLease"},
			{"return max(t.confirmWait, in.Lease/3)", "return t.confirmWait"},
		},
		profile: "timeouts", seed: 32, breaks: "I1 I2",
	},
	{
		name:    "R2 a tombstone without a date",
		edits:   []edit{{"max(gr.Generation, remembered.Generation, m.tombstoneDate(ctx, gr).UnixMilli()) + 1", "max(gr.Generation, remembered.Generation) + 1"}},
		profile: "lostlogin", seed: 32, breaks: "I4",
	},
	{
		name:    "R4 a newborn is judged dead",
		edits:   []edit{{"if e.active.Load() == gr.Generation || ", "if true || "}},
		profile: "lag", seed: 1, breaks: "I9",
	},
	{
		name:    "R5 no answer is waited for after RefreshTimeout",
		edits:   []edit{{"case v == blind, v == active && last == active, ", "case last <= inactive, "}},
		profile: "answers", seed: 3, breaks: "I3",
	},
	{
		name:    "R5 what is queued is delivered",
		edits:   []edit{{"conn.Reset()\n", "conn.Close()\n"}},
		profile: "stuck", seed: 1, breaks: "I1 I2",
	},
	{
		name: "R6 the budget begins before the connection",
		edits: []edit{
			{"conn, err := f.connect()\n", "began := f.m.clock.Now()\n\tconn, err := f.connect()\n"},
			{"began := f.m.clock.Now()\n\tstop :=", "stop :="},
		},
		profile: "dials", seed: 37, breaks: "I5",
	},
	{
		name: "R8 a flight goes on though nobody waits",
		edits: []edit{
			{"left, wanted := until-f.m.now(), f.unwanted()", "left, wanted := until-f.m.now(), until-f.m.now()"},
			{"case wanted <= 0:", "case false:"},
			{"max(lease, min(lease<<min(attempt-f.inTheDark, 10), longestPause))", "lease"},
		},
		profile: "down", seed: 1, breaks: "I9",
	},
	{
		name:    "R10 a clock of ours is believed before the server has said the time",
		edits:   []edit{{"f.learnTime()\n", ""}},
		profile: "clocks", seed: 7, breaks: "I9",
	},
	{
		name:    "R11 a 429 is about one grant",
		edits:   []edit{{"if wait > 0 {\n\t\tm.pausedUntil", "if false {\n\t\tm.pausedUntil"}},
		profile: "throttle", seed: 1, breaks: "I9",
	},
	{
		name:    "R12 a login loops on a store that conflicts",
		edits:   []edit{{"if n <= 3 {\n\t\treturn nil", "if true {\n\t\treturn nil"}},
		profile: "conflicts", seed: 10, breaks: "I9",
	},
	{
		name:    "R12 callers wait for a store that hangs",
		edits:   []edit{{"time.AfterFunc(slowStore, f.offer)", "time.AfterFunc(time.Hour, f.offer)"}},
		profile: "hangs", seed: 3, breaks: "I5",
	},
	{
		name:    "R12 a flight waits for who takes its reports",
		edits:   []edit{{"m.reports.add(func() { m.report(ctx, r) }, r.Kind == Lost || r.Kind == Repaired)", "m.report(ctx, r)"}},
		profile: "reentrant", seed: 2, breaks: "I6",
	},
}
