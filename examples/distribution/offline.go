package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
)

// newFakePartner returns a partner API of both generations for offline work. It accepts
// any key, and the tokens that the fake Musixmatch at apiURL knows as an application's.
// It is sometimes busy.
func newFakePartner(apiURL string) *httptest.Server {
	var (
		mu       sync.Mutex
		requests int
		ids      int
	)
	answer := func(w http.ResponseWriter, status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"message": map[string]any{
			"header": map[string]any{"status_code": status}, "body": body,
		}})
	}
	handle := func(status int, result func(id int) any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			if (query.Get("apikey") == "" || query.Get("user_id") == "") && !isApplication(r, apiURL) {
				answer(w, http.StatusUnauthorized, nil)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			requests++
			if requests%3 == 0 {
				w.Header().Set("Retry-After", "1")
				answer(w, http.StatusTooManyRequests, nil)
				return
			}
			var body map[string]any
			if json.NewDecoder(r.Body).Decode(&body) != nil {
				answer(w, http.StatusBadRequest, nil)
				return
			}
			ids++
			answer(w, status, result(ids))
		}
	}
	mux := http.NewServeMux()
	lyrics := handle(http.StatusAccepted, func(id int) any {
		return map[string]any{"lyrics": map[string]any{"lyrics_request_id": id, "status": "pending"}}
	})
	mux.HandleFunc("POST "+claimPath, handle(http.StatusCreated, func(id int) any {
		return map[string]any{"artist_claim": map[string]any{"claim_id_list": []int{id}}}
	}))
	mux.HandleFunc("POST "+lyricsPath, lyrics)
	mux.HandleFunc("POST "+keyedLyricsPath, lyrics)
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
