-- Posts INPUTS texts at a time to /embed, TEXT after a number each, since equal texts and equal
-- beginnings would be computed once; prints one JSON line: answers by kind, latency in ms, answers a
-- second.
local threads = {}

function setup(thread)
   table.insert(threads, thread)
   thread:set("id", #threads)
end

function init()
   good, busy, other = 0, 0, 0
   number = 0
   text, inputs = os.getenv("TEXT"), tonumber(os.getenv("INPUTS"))
   wrk.method = "POST"
   wrk.headers["content-type"] = "application/json"
end

function request()
   local texts = {}
   for place = 1, inputs do
      number = (number + 1) % 100000
      texts[place] = string.format('"%05d-%d %s"', number, id, text)
   end
   return wrk.format(nil, nil, nil, '{"inputs":[' .. table.concat(texts, ",") .. "]}")
end

function response(status)
   if status == 200 then
      good = good + 1
   elseif status == 429 or status == 503 then
      busy = busy + 1
   else
      other = other + 1
   end
end

function done(summary, latency)
   local sum = { good = 0, busy = 0, other = 0 }
   for _, thread in ipairs(threads) do
      for kind in pairs(sum) do
         sum[kind] = sum[kind] + thread:get(kind)
      end
   end
   local broken = summary.errors.connect + summary.errors.read
      + summary.errors.write + summary.errors.timeout
   local format = '{"good": %d, "busy": %d, "other": %d, "broken": %d, '
      .. '"p50": %.3f, "p95": %.3f, "p99": %.3f, "rate": %.1f}\n'
   io.write(string.format(format, sum.good, sum.busy, sum.other, broken,
      latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
      latency:percentile(99) / 1e3, sum.good / (summary.duration / 1e6)))
end
