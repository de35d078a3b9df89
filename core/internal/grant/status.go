package grant

// loss names one loss of a grant: a mark is written at most once for each generation.
type loss struct {
	GrantID    string `json:"grant_id"`
	Generation int64  `json:"gen"`
}

// lastLoss is the loss that whoever replaces gr with a live grant must announce the
// end of: the application may know of it.
func (gr grant) lastLoss() loss {
	if gr.Status == statusReconnect {
		return loss{gr.GrantID, gr.Generation}
	}
	return gr.Acknowledged
}
