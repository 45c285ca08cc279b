-- A release is healthy once its revision has succeeded, and degraded once it has gone back.
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

local phase = obj.status.phase or "Pending"
local where = phase
if obj.status.ring ~= nil and obj.status.ring ~= "" then
  where = where .. ", ring " .. obj.status.ring
end

local ended_badly = {Halted = true, RollingBack = true, Verifying = true, RolledBack = true, Unresolved = true}
if ended_badly[phase] then
  local why = ""
  if conditions["Ready"] ~= nil then
    why = ": " .. (conditions["Ready"].message or "")
  end
  return {status = "Degraded", message = phase .. why}
end
if obj.spec.paused then
  return {status = "Suspended", message = where .. ": the plan is paused"}
end
if says("Stalled", "True") then
  -- What lets the release go on by itself, or by a person's word, is no fault of it.
  local stops = {Held = "Suspended", WaitingForApproval = "Progressing", GroupBusy = "Progressing",
    NoData = "Progressing", ProviderError = "Progressing", Inconclusive = "Progressing"}
  return {status = stops[conditions["Stalled"].reason] or "Degraded", message = where .. ": " .. because("Stalled")}
end
if phase == "Succeeded" then
  return {status = "Healthy", message = "revision " .. (obj.status.revision or "") .. " succeeded"}
end
if says("Reconciling", "True") then
  return {status = "Progressing", message = where .. ": " .. because("Reconciling")}
end
return {status = "Progressing", message = where}
