"""The providers' own Python packages against `ledgerline up` with the simulated provider.

usage: sdk.py LEDGERLINE_BINARY EMPTY_FOLDER
Calls every wire format, streamed and not, and then asks the books for exactly those calls.
"""
import json, os, pathlib, re, signal, subprocess, sys, time, urllib.request

import anthropic
import openai

binary, folder = sys.argv[1], pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
checks = 0


def check(ok, what):
    global checks
    if not ok:
        sys.exit(f"FAILED: {what}")
    checks += 1


def start(*args, until):
    """Starts the binary and reads its output until the pattern; returns the process and the matches."""
    process = subprocess.Popen([binary, *args], stdout=subprocess.PIPE, stderr=open(folder / f"{args[0]}.log", "wb"), text=True)
    found = {}
    for line in process.stdout:
        for name, pattern in until.items():
            if m := re.search(pattern, line):
                found[name] = m.group(1)
        if len(found) == len(until):
            return process, found
    sys.exit(f"FAILED: {args[0]} ended: {(folder / (args[0] + '.log')).read_text()[-2000:]}")


simulate, s = start("simulate", "--listen", "127.0.0.1:0", until={"addr": r"(http://127\.0\.0\.1:\d+)"})
keys = json.loads(subprocess.run([binary, "demo", "governance", folder / "governance", "--provider", s["addr"]], check=True, capture_output=True).stdout)
key = keys["devtools"]
up, u = start("up", "--data", str(folder / "data"), "--governance", str(folder / "governance"),
              "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0",
              until={"proxy": r"proxy\s+(http://\S+)", "api": r"API\s+(http://\S+)", "admin": r"admin key\s+(\S+)"})
try:
    chat = openai.OpenAI(base_url=u["proxy"] + "/v1", api_key=key, max_retries=0)
    messages = [{"role": "user", "content": "one two three"}]
    dictate = lambda text: {"Simulate-Usage": text}

    answer = chat.chat.completions.create(model="gpt-5-mini", messages=messages, extra_headers=dictate("in=1200,out=34,cache_read=1000"))
    check(answer.usage.prompt_tokens == 1200 and answer.usage.completion_tokens == 34, "chat usage")
    check(answer.usage.prompt_tokens_details.cached_tokens == 1000, "chat cached tokens")

    with chat.chat.completions.create(model="gpt-5-mini", messages=messages, stream=True, stream_options={"include_usage": True},
                                      extra_headers=dictate("in=7,out=5")) as stream:
        chunks = list(stream)
    check(chunks[-1].usage.total_tokens == 12 and chunks[-1].choices == [], "streamed chat usage")

    response = chat.responses.create(model="gpt-5-mini", input="hello", extra_headers=dictate("in=11,out=9,reasoning=4"))
    check(response.usage.input_tokens == 11 and response.usage.output_tokens_details.reasoning_tokens == 4, "responses usage")
    with chat.responses.create(model="gpt-5-mini", input="hello", stream=True, extra_headers=dictate("in=3,out=2")) as stream:
        events = list(stream)
    check(events[-1].type == "response.completed" and events[-1].response.usage.total_tokens == 5, "streamed responses usage")

    embedding = chat.embeddings.create(model="text-embedding-3-small", input="hello", extra_headers=dictate("in=6,out=0"))
    check(embedding.usage.prompt_tokens == 6 and len(embedding.data[0].embedding) > 0, "embeddings usage")

    claude = anthropic.Anthropic(base_url=u["proxy"], api_key=key, max_retries=0)
    ask = dict(model="claude-sonnet-5-5", max_tokens=64, messages=messages)
    message = claude.messages.create(**ask, extra_headers=dictate("in=900,out=21,cache_read=700,cache_write_5m=100"))
    check((message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (100, 700, 21), "messages usage")
    with claude.messages.stream(**ask, extra_headers=dictate("in=50,out=8")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    check(final.usage.output_tokens == 8 and text, "streamed messages usage")

    try:
        openai.OpenAI(base_url=u["proxy"] + "/v1", api_key="ll_nobody00_" + "x" * 43, max_retries=0).models.list()
        check(False, "an unknown key was served")
    except openai.AuthenticationError as e:
        check("ledgerline_" in json.dumps(e.body), "the error of an unknown key names its code")

    def ask_api(path):
        request = urllib.request.Request(u["api"] + path, headers={"Authorization": "Bearer " + u["admin"]})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    end = time.monotonic() + 60  # an answered call is in showback within 60 s
    while True:
        rows = ask_api("/v1/requests?limit=100")["requests"]
        total = ask_api("/v1/showback?group_by=team")["total"]
        if len(rows) == 7 and total["requests"] == 7:
            break
        if time.monotonic() > end:
            sys.exit(f"FAILED: {len(rows)} requests and a showback of {total} after 60 s, want 7")
        time.sleep(0.5)
    check({r["format"] for r in rows} == {"openai.chat", "openai.responses", "openai.embeddings", "anthropic.messages"}, "formats")
    check(all(r["cost_status"] == "exact" for r in rows), "every call has an exact cost")
    check(total["unpriced"] == 0, "nothing is unpriced")
finally:
    up.send_signal(signal.SIGTERM)
    up.wait(30)
    simulate.send_signal(signal.SIGTERM)
    simulate.wait(30)

books = subprocess.run([binary, "verify", "books", "--data", folder / "data"], capture_output=True, text=True)
print(books.stdout)
check(books.returncode == 0, "verify books: " + books.stderr)
print(f"{checks} passed, 0 failed")
