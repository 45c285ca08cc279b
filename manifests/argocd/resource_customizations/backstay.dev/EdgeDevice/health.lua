-- A device says itself how it is; its status has no generation, because the operator orders and the device reports.
local conditions = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    conditions[condition.type] = condition
  end
end

-- Whether a condition says this; one that is not there says nothing.
local function says(kind, status)
  return conditions[kind] ~= nil and conditions[kind].status == status
end

local function because(kind)
  return conditions[kind].reason .. ": " .. (conditions[kind].message or "")
end

if obj.spec.enrolled == false then
  return {status = "Suspended", message = "the device waits to be let in: set spec.enrolled"}
end
if obj.spec.revoked then
  return {status = "Suspended", message = "the device is shut out by spec.revoked"}
end
if obj.spec.mode == "Safe" then
  return {status = "Suspended", message = "safe mode by order"}
end
if conditions["Ready"] == nil then
  return {status = "Progressing", message = "the device has not said anything yet"}
end
if says("Ready", "True") then
  return {status = "Healthy", message = conditions["Ready"].message or ""}
end
local on_its_way = {Changing = true, OutOfDate = true}
if on_its_way[conditions["Ready"].reason] then
  return {status = "Progressing", message = because("Ready")}
end
return {status = "Degraded", message = because("Ready")}
