-- What a person may ask of a plan now. What the operator would refuse is not offered.
local phase = ""
local revision = ""
if obj.status ~= nil then
  phase = obj.status.phase or ""
  revision = obj.status.revision or ""
end

local waits = false
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Stalled" and condition.status == "True" and condition.reason == "WaitingForApproval" then
      waits = true
    end
  end
end

local under_way = {Rolling = true, Soaking = true, Rehearsing = true, Stabilizing = true}
local over = {Succeeded = true, RolledBack = true, Unresolved = true, Halted = true}
local goes_back = phase == "RollingBack" or phase == "Verifying"
local paused = obj.spec.paused == true

local actions = {}
actions["approve"] = {["disabled"] = not waits}
actions["pause"] = {["disabled"] = paused}
actions["resume"] = {["disabled"] = not (paused or phase == "Halted")}
actions["retry"] = {["disabled"] = revision == "" or goes_back or not (under_way[phase] or over[phase])}
actions["rollback"] = {["disabled"] = revision == ""
  or not (under_way[phase] or phase == "Succeeded" or phase == "Halted")}
return actions
