# 列表：筛选条件、数量以及批量操作。

lists-lost = 无法连接服务器，正在重试……
lists-found = { $count ->
    [0] 没有找到任何内容
   *[other] 找到 { $count } 条
}
lists-contains = 包含“{ $name }”
lists-chip = { $name }：{ $other }
lists-remove-filter = 移除筛选条件
lists-rows = 每页行数
lists-job-ended = { $name }：{ $other }
lists-platform = 平台
lists-label = 标签
lists-trust = 签名
lists-signed = 已签名
lists-unsigned = 未签名
lists-pushed-from = 推送时间不早于
lists-pushed-to = 推送时间不晚于
lists-pulled-from = 拉取时间不早于
lists-pulled-to = 拉取时间不晚于
lists-idle = 未被拉取的天数
lists-more = 更多筛选
lists-delete-all = 删除全部 { $count } 个匹配项…
lists-and-more = 以及另外 { $count } 个
lists-kept = { $count } 个不可变的 Tag 会保留。
told-tags-deleted-part = 已删除 { $count } 个 Tag。仍有匹配的 Tag，请再次删除以继续。
lists-columns = 列
lists-columns-show = 显示所选列
