local os = require("os")

-- Whoever runs actions is this to the API server; the policy of Backstay demands that the request names it.
local caller = "system:serviceaccount:argocd:argocd-server"

local function ask(verb, ring)
  if obj.metadata.annotations == nil then
    obj.metadata.annotations = {}
  end
  -- A version of the object is asked about once; the same request again has another number.
  local nonce = os.time() .. "-" .. (obj.metadata.resourceVersion or "0")
  obj.metadata.annotations["backstay.dev/request"] = verb .. "@" .. obj.status.revision .. "/" .. ring .. "/" .. nonce
  obj.metadata.annotations["backstay.dev/requested-by"] = caller
end

obj.spec.paused = false
if obj.status.phase == "Halted" then
  ask("resume", "-")
end
return obj
