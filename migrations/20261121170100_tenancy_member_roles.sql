-- Every role that a person holds in a project: as a member, and through groups that are members. The one place that
-- knows this; decisions take the union.
create view tenancy.member_roles as
    select project_id, entity_id as user_id, role from tenancy.members where entity_type = 'u'
    union all
    select m.project_id, g.user_id, m.role
    from tenancy.members m join identity.group_members g on g.group_id = m.entity_id
    where m.entity_type = 'g';
