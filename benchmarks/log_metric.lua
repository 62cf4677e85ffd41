-- wrk script: every request logs a distinct point. Arguments: run id, metric key.
local run, key, step = "", "", 0

function init(args)
  run, key = args[1], args[2]
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  step = step + 1
  return wrk.format(nil, nil, nil, string.format(
    '{"run_id":"%s","key":"%s","value":0.5,"timestamp":1700000000000,"step":%d}', run, key, step))
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%f,"refused":%d,"broken":%d,"p50_ms":%f,"p99_ms":%f}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
