# 图表、收藏、需要关注的事项。

chart-storage = 存储用量
chart-pulls = 每日拉取次数
chart-pushes = 每日推送次数
chart-now = 当前 { $name }
chart-sum = { $days } 天共 { $sum } 次
chart-said-storage = 存储用量从 { $first } 的 { $from } 变为 { $last } 的 { $to }，最高 { $most }。
chart-said-times = { $title }：{ $days } 天共 { $sum } 次，最多的一天是 { $day }，共 { $most } 次。
chart-said-none = { $title }：{ $days } 天内没有记录。
chart-table = 以表格查看{ $name }
chart-day = 日期（UTC）
chart-unknown = 未知
chart-pulls-recent = 30 天拉取次数
chart-pulls-recent-label = 30 天拉取次数：
project-largest = 最大的仓库
storage-full-in = 按最近 30 天的增长速度，存储空间大约 { $count } 天后用尽。
favourite = 收藏
favourites-title = 收藏
favourites-title-all = 全部收藏
favourites-all = 全部项目
favourites-which = 显示哪些项目
favourites-empty = 还没有收藏。在项目页面点星标即可收藏。
home-robot-ends = 机器人账户将于 { $name } 到期
home-audit-lost = 有操作未能记录
