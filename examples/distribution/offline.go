package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
)

// newFakePartner returns a partner API for offline work. It accepts the tokens that
// the fake Musixmatch at apiURL knows as an application's. It is sometimes busy.
func newFakePartner(apiURL string) *httptest.Server {
	var (
		mu       sync.Mutex
		requests int
		ids      int
	)
	answer := func(w http.ResponseWriter, status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	handle := func(make func(id int, body map[string]any) any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !isApplication(r, apiURL) {
				answer(w, http.StatusUnauthorized, map[string]string{"error": "unauthorized"})
				return
			}
			mu.Lock()
			defer mu.Unlock()
			requests++
			if requests%3 == 0 {
				w.Header().Set("Retry-After", "1")
				answer(w, http.StatusTooManyRequests, map[string]string{"error": "slow_down"})
				return
			}
			var body map[string]any
			if json.NewDecoder(r.Body).Decode(&body) != nil || body["musixmatch_user_id"] == "" {
				answer(w, http.StatusBadRequest, map[string]string{"error": "bad_request"})
				return
			}
			ids++
			answer(w, http.StatusCreated, make(ids, body))
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+claimPath, handle(func(id int, _ map[string]any) any { return map[string]any{"claim_id_list": []int{id}} }))
	mux.HandleFunc("POST "+lyricsPath, handle(func(id int, _ map[string]any) any { return map[string]any{"lyrics_request_id": id} }))
	return httptest.NewServer(mux)
}

func isApplication(r *http.Request, apiURL string) bool {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, apiURL+"/whoami", nil)
	if err != nil {
		return false
	}
	req.Header["Authorization"] = r.Header["Authorization"]
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var who struct {
		ClientID string `json:"client_id"`
	}
	return json.NewDecoder(res.Body).Decode(&who) == nil && who.ClientID != ""
}
