# What turned is written, against the engine's own client: the part of scripts/bench-database that compares; sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154

database() {
    local engine engines=(sqlite postgres mysql) text
    ((!QUICK)) || engines=(sqlite)
    for engine in "${engines[@]}"; do
        text=$(ROWS=10000 ROUNDS=$ROUNDS scripts/bench-database --programs "$programs" --engine "$engine" flips)
        echo "$text"
        awk -v engine="$engine" '
            $1 == engine && /verdicts|INSERTs/ && $(NF - 4) == 10000 {
                kind = /without/ ? "quiet" : /INSERTs/ ? "both" : "flip"
                printf "{\"name\":\"database.%s.%s.ours\",\"value\":%s}\n", engine, kind, $(NF - 3)
                printf "{\"name\":\"database.%s.%s.bare\",\"value\":%s}\n", engine, kind, $(NF - 2)
            }' <<<"$text" >>"$results"
    done
}
