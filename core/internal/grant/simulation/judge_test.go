package simulation_test

// judge looks at what the history has left behind.
func (w *world) judge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.users {
		w.judgeUser(u)
		// A mark may have been written by a process that crashed before it could
		// say so, or to repair a store that had lost it.
		if u.events > u.marks || u.events < u.marks && w.crashes == 0 && len(u.lost) == 0 {
			w.wrong("I8", "", "%s: %d marks, %d reports of a loss", u, u.marks, u.events)
		}
	}
}

func (w *world) judgeUser(u *user) {
	h := u.slot.now()
	if w.profile.noRefresh {
		return
	}
	w.log(nil, "%s ends as %s", u, h.content)
	w.count("grants judged")
	if w.mustBeDisconnected(u) && h.found && h.content.Status != "disconnected" {
		excuse := ""
		if len(u.lost) > 0 {
			excuse = "the store lost a write"
		}
		w.wrong("I4", w.excuseBack(u, excuse), "%s disconnected and is %s", u, h.content)
		return
	}
	switch {
	case !h.found && !u.disconnected.IsZero():
	case !h.found && !u.vanished:
		w.wrong("I3", "", "the record of %s is gone", u)
	case !h.found:
		w.lost("the store lost the record")
	case h.content.Status == "live":
		if c := h.content.coin; c == nil || c.spent || c.family.destroyed {
			w.wrong("I5", "", "%s is live with dead tokens", u)
		}
	case h.content.Status == "reconnect":
		w.judgeLoss(u, h.content)
	}
}

func (w *world) mustBeDisconnected(u *user) bool {
	return !u.disconnected.IsZero() && u.logins == 0 && u.login.Before(u.disconnected)
}

// judgeLoss asks whether a lost grant could have been kept.
func (w *world) judgeLoss(u *user, record content) {
	if u.vanished {
		w.lost("the store lost the record")
		return
	}
	f := u.grants[record.GrantID].family
	if f.destroyed {
		w.lost(f.cause)
		return
	}
	c := f.last()
	if w.noRotation && !record.Unrotated {
		w.lost("the server does not rotate, which nobody could know yet")
		return
	}
	if f.shadowed.After(c.sent) {
		w.lost("a refresh elsewhere killed the access token that was the oracle")
		return
	}
	if _, p := w.holder(c); p != nil {
		w.wrong("I3", "", "%s is lost (%s), but %s holds the live %s", u, record.Reason, p, c)
		return
	}
	switch {
	case !c.storedAt.IsZero() && len(u.lost) > 0:
		w.lost("the store lost a write")
	case !c.storedAt.IsZero():
		w.wrong("I3", "", "%s is lost (%s), but %s, which was stored, is unspent", u, record.Reason, c)
	case w.profile.grace && len(w.procs) == 1 && len(f.coins) > 1 && f.coins[len(f.coins)-2].presented == 1:
		w.wrong("I3", "", "%s is lost (%s), though the server would have answered %s again", u, record.Reason, f.coins[len(f.coins)-2])
	default:
		w.lost(w.unheld(c))
	}
}

func (w *world) lost(why string) {
	w.count("lost: " + why)
	w.log(nil, "a loss at the floor: %s", why)
}
