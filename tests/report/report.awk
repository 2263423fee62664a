# Reads what `cargo test --no-fail-fast` printed, and prints a line for each that failed: `failed`, a
# tab, and which; and for each that was skipped for something that is missing: `skipped`, a tab, and
# WHAT: WHY. CHATKIT_REST_TESTS_WITHOUT has these, one a line; `status` is that of cargo.
#
# What it can't make out is a failure. So it goes by the numbers of the `test result:` lines: who is
# named must be as many.

function tell(what) {
    print "failed\t" what
    told++
}

function target_begins(name) {
    target_ends()
    target = name
    is_running = 1
}

# It says so itself with a result, and cargo where it didn't end well.
function target_ends() {
    if (is_running) tell(target ": no result (did it crash?)")
    is_running = 0
    tests_end()
}

# Tells of the tests that failed since the last result.
function tests_end(    i, name) {
    for (i = 1; i <= named; i++) {
        name = names[i]
        # All of its panics are a skip, and the one that ended it is among them.
        if (skips[name, name] && skips[name] == panics[name]) {
            print "skipped\t" why[name]
            skipped++
        } else {
            tell(target ": " name)
        }
    }
    named = 0
    test = thread = ""
    # `delete` of a whole array is not in every awk.
    split("", skips)
    split("", panics)
    split("", why)
}

/^     Running / { target_begins($2 == "unittests" ? $3 : $2); next }
/^   Doc-tests / { target_begins("doc-tests of " $2); next }
# Those of documentation run more than once.
/^running [0-9]+ tests?$/ { is_running = 1; next }

# What a test printed, where it is captured. Where it isn't, the thread has the test's name.
/^---- .* stdout ----$/ {
    test = $0
    sub(/^---- /, "", test)
    sub(/ stdout ----$/, "", test)
    next
}
/^thread '.*' .*panicked at / {
    thread = $0
    sub(/^thread '/, "", thread)
    sub(/' .*/, "", thread)
    of = test == "" ? thread : test
    panics[of]++
    is_message = 1
    next
}
# The line after is the message.
is_message {
    is_message = 0
    if (/^skipped: / && index("\n" ENVIRON["CHATKIT_REST_TESTS_WITHOUT"], "\n" substr($0, 10) "\n")) {
        skips[of]++
        skips[of, thread]++
        why[of] = substr($0, 10)
        next
    }
}

# The second of them has names, in the next lines.
/^failures:$/ { is_list = 1; test = ""; next }
is_list && /^    [^ ]/ { names[++named] = substr($0, 5); next }
{ is_list = 0 }

/^test result: / {
    for (i = 1; i < NF && $(i + 1) !~ /^failed/; i++);
    count = $i + 0
    is_running = 0
    if (named != count) tell(target ": " count " failed, of which " named " are named")
    tests_end()
    next
}

# What cargo says, between targets: what doesn't compile, an option that isn't there. Not that tests
# failed, which they told.
/^error: (doc)?test failed, to rerun pass / { next }
/^error: [0-9]+ targets? failed:$/ { next }
/^error(\[E[0-9]+\])?: / && !is_running { tell($0) }
# And how a target ended that didn't end by itself; its result may be fine.
/^  process didn't exit successfully: / && before == "Caused by:" {
    is_running = 0
    sub(/^ */, "")
    tell(target ": " $0)
}
{ before = $0 }

END {
    target_ends()
    # 101 is that of tests that failed.
    if (status != 0 && !told && (status != 101 || !skipped)) tell("cargo test ended with status " status)
}
