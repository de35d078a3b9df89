package grant

import (
	"context"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
)

// An application hears at least once that a grant was lost, and then that it is
// back. What it has acknowledged is in the record. Whoever changes the status tells
// the application a while later; what that misses is found by Maintain.

// loss names one loss of a grant. A grant is lost at most once at each generation.
type loss struct {
	GrantID    string `json:"grant_id"`
	Generation int64  `json:"gen"`
}

// lastLoss returns the loss whose end whoever replaces gr with a live grant has to
// tell. The application may know of it, though it has not acknowledged.
func (gr grant) lastLoss() loss {
	if gr.Status == statusReconnect {
		return loss{gr.GrantID, gr.Generation}
	}
	return gr.Acknowledged
}

// untold reports whether the application has yet to acknowledge what became of gr.
func (gr grant) untold() bool {
	switch gr.Status {
	case statusLive:
		return gr.Acknowledged != loss{}
	case statusReconnect:
		return !isImport(gr.Sub) && gr.Acknowledged != gr.lastLoss()
	}
	return false
}

// told is gr when it has.
func (gr grant) told() grant {
	gr.Acknowledged = loss{}
	if gr.Status == statusReconnect {
		gr.Acknowledged = gr.lastLoss()
	}
	return gr
}

const (
	maxCalls      = 8    // of OnStatus at once
	maxDeliveries = 1024 // that wait; Maintain finds the others
	callTimeout   = 30 * time.Second
)

// deliveries are the calls of OnStatus.
type deliveries struct {
	waiting semaphore
	calls   semaphore
}

func newDeliveries() deliveries {
	return deliveries{waiting: make(semaphore, maxDeliveries), calls: make(semaphore, maxCalls)}
}

// statusChanged tells the application of gr, which was written here. It waits
// until no late answer can end a loss, and then reads again.
func (m *Manager) statusChanged(gr grant) {
	if m.onStatus == nil || !gr.untold() {
		return
	}
	select {
	case m.deliveries.waiting <- struct{}{}:
		time.AfterFunc(m.tellAfter(), func() { m.deliver(gr.Sub) })
	default:
	}
}

// tellAfter is for how long a status is kept to ourselves.
func (m *Manager) tellAfter() time.Duration { return 3 * m.refreshTimeout }

// deliver calls OnStatus for sub, if that is still to be done, and takes note of
// an acknowledgement. The caller has a place among those that wait.
func (m *Manager) deliver(sub string) {
	defer m.deliveries.waiting.release()
	select {
	case m.deliveries.calls <- struct{}{}:
		defer m.deliveries.calls.release()
	case <-m.live.Done():
		return
	}
	ctx, cancel := context.WithTimeout(m.live, callTimeout)
	defer cancel()
	gr, _, found, err := m.records.find(ctx, sub)
	if err != nil || !found || !gr.untold() || m.callOnStatus(ctx, gr) != nil {
		return
	}
	if !m.begin() {
		return
	}
	defer m.work.Done()
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		now, version, found, err := m.records.find(ctx, sub)
		same := found && now.Status == gr.Status && now.GrantID == gr.GrantID && now.Generation == gr.Generation
		if err != nil || !same || now.Intent != nil {
			return // it will be told again
		}
		if _, out, _ := m.records.replace(ctx, version, now.told()); out != writeConflict {
			return
		}
	}
}

func (m *Manager) callOnStatus(ctx context.Context, gr grant) (err error) {
	defer recovery.Catch(&err)
	return m.onStatus(ctx, infoOf(gr))
}
