-- A hold is healthy when it holds, and also when its time is over: it does what it says.
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

if obj.status == nil or obj.status.observedGeneration == nil or obj.metadata.generation == nil
    or obj.status.observedGeneration < obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at this generation yet"}
end

if says("Accepted", "False") then
  return {status = "Degraded", message = because("Accepted")}
end
if says("Stalled", "True") then
  return {status = "Degraded", message = because("Stalled")}
end
if says("InForce", "True") then
  return {status = "Healthy", message = "in force: " .. obj.spec.reason}
end
if says("InForce", "False") then
  return {status = "Healthy", message = because("InForce")}
end
return {status = "Progressing", message = "the operator has not said yet what it holds; it holds all the same"}
