-- Makes wrk say its totals in one line of numbers; no callback runs per request.
done = function(summary, _, _)
   local e = summary.errors
   io.write(string.format("TOTALS %d %d %d %d %d %d %d %d\n", summary.requests, summary.bytes, summary.duration,
      e.connect, e.read, e.write, e.status, e.timeout))
end
